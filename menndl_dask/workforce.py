"""The workforce: which workers are there, as they come and go. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Mapping

from menndl_dask.words import counted

_QUIET_S = 10.0  # arrivals within it are one message


class Workers:
    """Counts the workers and says in words when some have come or gone."""

    def __init__(self) -> None:
        self.slots = 0
        self._there: frozenset[str] = frozenset()
        self._joined = self._left = 0
        self._said: float | None = None

    def __len__(self) -> int:
        return len(self._there)

    def target_in_flight(self, submitted: int) -> int:
        """Return how many evaluations are to be in flight: one for each thread of the workers and a few spare ones.

        The spare ones bridge the way from a result to the next network. Each is bred without knowing of the results
        that come home while it waits, so there are no more than that. Dask lets tasks wait on the scheduler only from
        the time on when a group has had more than twice as many as there are threads; before, a spare one could wait
        behind a long one while another worker is idle.

        Parameters
        ----------
        submitted
            Evaluations that have been submitted so far.

        Examples
        --------
        >>> workforce = Workers()
        >>> for workers in (0, 2, 8, 100):
        ...     _ = workforce.update({f"worker {n}": 1 for n in range(workers)}, 0.0)
        ...     print(workers, workforce.target_in_flight(submitted=2), workforce.target_in_flight(submitted=1000))
        0 1 1
        2 2 3
        8 8 10
        100 100 110
        """
        if self.slots > 0 and submitted <= 2 * self.slots:
            return self.slots
        return self.slots + (1 if self.slots < 4 else max(2, math.isqrt(self.slots)))

    def update(self, threads: Mapping[str, int], now: float) -> str | None:
        """Take the threads of each worker's address; return what is to be told, if anything.

        Losses are told at once, arrivals together.
        """
        there = frozenset(threads)
        lost = len(self._there - there)
        self._joined += len(there - self._there)
        self._left += lost
        self._there, self.slots = there, sum(threads.values())
        quiet = self._said is not None and now - self._said < _QUIET_S
        if (quiet and not lost) or not (self._joined or self._left):
            return None
        changes = [(self._joined, "joined"), (self._left, "left")]
        told = " and ".join(f"{counted(count, 'worker')} {verb}" for count, verb in changes if count)
        self._joined = self._left = 0
        self._said = now
        return f"{told}; {len(there)} in all"
