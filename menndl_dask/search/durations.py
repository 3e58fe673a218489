"""An estimate of how long the next evaluation will take. Pure."""

from __future__ import annotations

from collections import deque

from menndl_dask.result import Result

_RECENT = 100  # evaluations that count
_FEWEST = 5  # evaluations needed for an estimate
_QUANTILE = 0.9


class DurationEstimate:
    """The 90th percentile of the durations of the latest complete trainings; it does not exceed `limit` seconds.

    Trainings that were stopped early do not count. A training that was resumed from a checkpoint counts with the time
    before the checkpoint too.

    >>> estimate = DurationEstimate(limit=3600)
    >>> for seconds in range(100, 200):
    ...     estimate.tell(Result(0.5, times={"total": seconds}))
    >>> estimate.seconds
    190.0
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._latest: deque[float] = deque(maxlen=_RECENT)

    def tell(self, result: Result) -> None:
        """Add a result."""
        if result.succeeded and "total" in result.times:
            before = result.costs.get("train_seconds", 0.0) - result.times.get("train", 0.0)
            self._latest.append(result.times["total"] + max(0.0, before))

    @property
    def seconds(self) -> float:
        """The estimate in seconds; 0 while too few results are known."""
        if len(self._latest) < _FEWEST:
            return 0.0
        return float(min(self._limit, sorted(self._latest)[int(_QUANTILE * len(self._latest))]))
