"""The significance of learning: whether a network is better than the constant predictor, beyond noise. Pure.

About half of the networks that MENNDL evaluated on one physics data set had learnt nothing; stopping them early saves
most of a search's time. A network that would have learnt later is lost if it is stopped, so one kind of evidence is
enough to go on. The comparison with other networks comes at the rungs (`menndl_dask.search.rungs`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

PARTS = 8  # of the validation split; their scatter is the noise of the fitness
SIGNIFICANT = 2.0  # standard errors


def shows_learning(evidence: Iterable[ArrayLike]) -> bool:
    """Return whether any evidence of learning is beyond noise.

    Evidence is, for each kind (fitness, training loss, validation loss), repeated gains over the constant predictor. A
    kind is computed only if those before it are not beyond noise.

    >>> shows_learning([[0.1, -0.1], [0.10, 0.12, 0.08]])
    True
    """
    return any(beyond_noise(gains) for gains in evidence)


def beyond_noise(gains: ArrayLike) -> bool:
    """Return whether the mean of repeated gains is positive by more than two standard errors of the mean.

    The comparison is paired: network and constant predictor are scored on the same samples, so that the difficulty of
    the samples cancels. A network that has learnt nothing passes this one-sided test in 2 of 100 cases (in 4 with eight
    values: Student 1908, doi:10.1093/biomet/6.1.1).

    >>> beyond_noise([0.10, 0.12, 0.08, 0.11]), beyond_noise([0.1, -0.1, 0.02, -0.01]), beyond_noise([0.0, 0.0])
    (True, False, False)
    """
    values = np.asarray(gains, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return False
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)) > SIGNIFICANT * error
