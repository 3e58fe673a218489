"""The early verdict: has a network learnt anything yet? Pure.

About half of the networks that MENNDL evaluated on one physics data set had learnt nothing; ending them early is
where most of a search's time is saved. Ending one that would have learnt loses it for good, so any sign of learning
spares it. How a network fares beside others is asked at the rungs (`menndl_dask.rung`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

PARTS = 8  # of the validation split, whose scatter is the noise of the fitness
SIGNIFICANT = 2.0  # standard errors


def shows_learning(signs: Iterable[ArrayLike]) -> bool:
    """Return whether any sign of learning is beyond noise; the next one is asked for only if those before it are not.

    Parameters
    ----------
    signs
        By how much a network was better than the constant predictor, several times over, in one respect after the
        other: fitness, training loss, validation loss.

    Examples
    --------
    >>> shows_learning([[0.1, -0.1], [0.10, 0.12, 0.08]])
    True
    """
    return any(beyond_noise(gains) for gains in signs)


def beyond_noise(gains: ArrayLike) -> bool:
    """Return whether the mean of repeated gains is positive by more than two standard errors of the mean.

    A paired comparison: network and constant predictor are judged on the same samples, so that what is hard for both
    cancels. A network that has learnt nothing passes this one-sided test in 2 of 100 cases (in 4 with eight values:
    Student 1908, doi:10.1093/biomet/6.1.1).

    >>> beyond_noise([0.10, 0.12, 0.08, 0.11]), beyond_noise([0.1, -0.1, 0.02, -0.01]), beyond_noise([0.0, 0.0])
    (True, False, False)
    """
    values = np.asarray(gains, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return False
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)) > SIGNIFICANT * error
