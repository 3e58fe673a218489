"""How long the next evaluation may take, by those that are home. Pure."""

from __future__ import annotations

from collections import deque

from menndl_dask.result import Result

_RECENT = 100  # evaluations that count
_FEWEST = 5  # before which nothing is said
_LONGER = 0.9  # share of the evaluations that took no longer


class DurationEstimate:
    """The time that nine in ten of the latest trainings took that went to their end.

    One that ended earlier says nothing about how long a training may take; one that was carried on from a checkpoint
    counts with what it took before.

    Examples
    --------
    >>> forecast = DurationEstimate(limit=3600)
    >>> for seconds in range(100, 200):
    ...     forecast.tell(Result(0.5, times={"total": seconds}))
    >>> forecast.seconds
    190.0
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._latest: deque[float] = deque(maxlen=_RECENT)
        self._seconds: float | None = None

    def tell(self, result: Result) -> None:
        """Take a result."""
        if result.succeeded and "total" in result.times:
            before = result.costs.get("train_seconds", 0.0) - result.times.get("train", 0.0)
            self._latest.append(result.times["total"] + max(0.0, before))
            self._seconds = None

    @property
    def seconds(self) -> float:
        """How long, at most an evaluation's limit; 0 while too few are home."""
        if len(self._latest) < _FEWEST:
            return 0.0
        if self._seconds is None:
            ordered = sorted(self._latest)
            self._seconds = float(min(self._limit, ordered[int(_LONGER * len(ordered))]))
        return self._seconds
