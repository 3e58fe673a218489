"""The workers of a search: how many there are, and how many evaluations keep them busy. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Mapping

from menndl_dask.text import counted

_QUIET_S = 10.0  # workers that join within this time are reported together


class Workers:
    """Counts the workers and reports those that joined or left.

    Attributes
    ----------
    slots
        Number of evaluations that the workers can do at the same time: their threads.
    """

    def __init__(self) -> None:
        self.slots = 0
        self._addresses: frozenset[str] = frozenset()
        self._joined = self._left = 0
        self._reported_at: float | None = None

    def __len__(self) -> int:
        return len(self._addresses)

    def target_in_flight(self, submitted: int) -> int:
        """Return how many evaluations should be in flight: one for each slot, and a few spare ones.

        The spare ones keep a worker busy while the driver handles its last result. Each of them was chosen without
        knowing the results that arrive while it waits, so there are only a few. Dask keeps tasks back on the scheduler
        only once a group has had more than twice as many tasks as there are threads. Until then there are no spare
        ones: they could wait on a busy worker while another worker is idle.

        >>> workers = Workers()
        >>> for count in (0, 2, 8, 100):
        ...     _ = workers.update({f"worker {n}": 1 for n in range(count)}, 0.0)
        ...     print(count, workers.target_in_flight(submitted=2), workers.target_in_flight(submitted=1000))
        0 1 1
        2 2 3
        8 8 10
        100 100 110
        """
        if self.slots > 0 and submitted <= 2 * self.slots:
            return self.slots
        return self.slots + (1 if self.slots < 4 else max(2, math.isqrt(self.slots)))

    def update(self, threads: Mapping[str, int], now: float) -> str | None:
        """Set the workers, and return a message about those that joined or left, or None.

        Workers that left are reported at once. Workers that joined are reported at most every ten seconds. `threads`
        are the numbers of threads of the workers by their addresses, `now` is the monotonic clock in seconds.
        """
        addresses = frozenset(threads)
        lost = len(self._addresses - addresses)
        self._joined += len(addresses - self._addresses)
        self._left += lost
        self._addresses, self.slots = addresses, sum(threads.values())
        is_quiet = self._reported_at is not None and now - self._reported_at < _QUIET_S
        if (is_quiet and not lost) or not (self._joined or self._left):
            return None
        changes = [(self._joined, "joined"), (self._left, "left")]
        message = " and ".join(f"{counted(count, 'worker')} {verb}" for count, verb in changes if count)
        self._joined = self._left = 0
        self._reported_at = now
        return f"{message}; {len(addresses)} in all"
