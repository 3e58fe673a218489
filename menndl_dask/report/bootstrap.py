"""Paired bootstrap: how certain a difference between two networks on the test split is. Pure.

Networks are tested on the same samples, so each draw takes the same groups of samples for both. Groups are drawn, not
pixels: pixels of one image are alike. The seeds of each network are drawn, too (Efron and Tibshirani 1993,
doi:10.1201/9780429246593).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menndl_dask.metric import values_of

Sums = NDArray[np.float64]  # (seed, group, row, output)
_DRAWS = 2000
_AT_ONCE = 200
_INTERVAL = (2.5, 97.5)  # percentiles
_SEED = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a network to another in the metric on the test split, with its 95 % interval.

    Parameters
    ----------
    value, low, high
        The mean over the seeds, and the ends of the interval.
    error, other_error
        Standard errors of the two scores themselves, over groups and seeds.
    """

    value: float
    low: float
    high: float
    error: float
    other_error: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval has values of one sign only."""
        return self.low > 0 or self.high < 0


def difference(sums: Sums, others: Sums, metric: str) -> Difference | None:
    """Return the difference of two networks; None where there are fewer than two groups, or a score is no number.

    Parameters
    ----------
    sums, others
        Of each training and group what the metric is computed from; see `menndl_dask.metric.Measure.sums`.
    metric
        A built-in metric.

    Examples
    --------
    >>> right, wrong = ([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> good, poor = np.array([[right] * 9 + [wrong]]), np.array([[right] * 5 + [wrong] * 5])
    >>> found = difference(good, poor, "accuracy")
    >>> round(found.value, 3), found.low > 0
    (0.4, True)
    """
    if sums.shape[1] != others.shape[1] or sums.shape[1] < 2:
        return None
    own, other = (np.concatenate([*scores]) for scores in zip(*_drawn(sums, others, metric), strict=True))
    whole = [float(values_of(metric, each.sum(axis=1)).mean()) for each in (sums, others)]
    if not (np.isfinite(own).all() and np.isfinite(other).all() and np.isfinite(whole).all()):
        return None
    low, high = np.percentile(own - other, _INTERVAL)
    return Difference(whole[0] - whole[1], float(low), float(high), float(own.std()), float(other.std()))


def _drawn(sums: Sums, others: Sums, metric: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the mean scores of both networks for some draws at a time."""
    rng = np.random.default_rng(_SEED)
    groups = sums.shape[1]
    for _ in range(_DRAWS // _AT_ONCE):
        times = rng.multinomial(groups, np.full(groups, 1 / groups), _AT_ONCE)
        found = []
        for each in (sums, others):
            scores = values_of(metric, np.einsum("dg,sgro->dsro", times, each, optimize=True))
            seeds = rng.integers(0, len(each), scores.shape)
            found.append(np.take_along_axis(scores, seeds, axis=1).mean(axis=1))
        yield found[0], found[1]
