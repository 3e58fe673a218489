"""How many evaluations go to a worker as one task, when they are shorter than handing one over takes. Pure."""

from __future__ import annotations

from collections import deque

_TASK_S = 0.01  # what Dask takes to hand one task over and its result back, on all processes together
_RECENT = 100  # evaluations that count, and before which none go together


class BundleSize:
    """Follows how long evaluations take on their workers, and says how many of them make a bundle.

    Those of a bundle are evaluated one after the other. While together they take no longer than Dask takes for a task,
    nobody waits for that, and one task in place of many leaves the processor to the search. Trainings take seconds at
    least and go one by one; what goes together are look-ups in a table of known results, predictors and estimates.

    Examples
    --------
    >>> size = BundleSize()
    >>> size.tell(100, 0.15)  # a millisecond and a half each
    >>> size.among(10), size.among(64), size.among(3), size.among(2)
    (5, 6, 2, 1)
    >>> size.tell(1, 30.0)  # a single long one is enough
    >>> size.among(64)
    1
    """

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_RECENT)

    def tell(self, evaluations: int, seconds: float) -> None:
        """Take what some evaluations have taken together on their worker."""
        self._latest.extend([seconds / max(1, evaluations)] * evaluations)

    def among(self, in_flight: int) -> int:
        """Return how many of those in flight go together.

        Half of them at most (of an odd number the larger part), so that workers evaluate while the driver chooses.
        """
        if len(self._latest) < _RECENT:
            return 1
        mean = max(sum(self._latest) / _RECENT, 1e-6)
        return max(1, min(int(_TASK_S / mean), (in_flight + 1) // 2))
