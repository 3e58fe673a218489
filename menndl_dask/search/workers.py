"""The workers of a search: how many there are, and how many evaluations keep them busy. Runs on the driver.

Where no worker is there, or the scheduler does not answer, this says so after one, two, four, … minutes, and ends the
search where it was told when to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from menndl_dask.errors import RunError
from menndl_dask.text import counted, duration

_QUIET_S = 10.0  # workers that join within this time are reported together
_FIRST_S = 60.0  # without a worker, until this is said for the first time
_OFTEN_S = 3600.0  # at the latest it is said again
_SILENCE_S = 900.0  # a scheduler that does not answer for longer is given up


class Workers:
    """Counts the workers and reports those that joined or left, and that there are none.

    Parameters
    ----------
    wait_s
        Seconds without any worker after which the search ends; None for no end.
    hint
        What the user can do if there is no worker.

    Attributes
    ----------
    slots
        Number of evaluations that the workers can do at the same time: their threads.
    none_since
        When the last worker left, or when the search began without any, on the monotonic clock in seconds. None while
        there are workers.
    """

    def __init__(self, wait_s: float | None = None, hint: str = "") -> None:
        self.slots = 0
        self.none_since: float | None = None
        self._wait_s = wait_s
        self._hint = f"; {hint}" if hint else ""
        self._answered_at: float | None = None
        self._said_s = 0.0  # what was said last: seconds without a worker, or without an answer
        self._addresses: frozenset[str] = frozenset()
        self._joined = self._left = 0
        self._reported_at: float | None = None

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def nodes(self) -> int:
        """Number of nodes that the workers are on."""
        return len({address.rpartition("://")[2].rpartition(":")[0] for address in self._addresses})

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

    def update(self, threads: Mapping[str, int] | None, now: float) -> str | None:
        """Set the workers, and return a message about those that joined or left, or that none is there, or None.

        Workers that left are reported at once. Workers that joined are reported at most every ten seconds. `threads`
        are the numbers of threads of the workers by their addresses, or None if the scheduler has not answered; `now`
        is the monotonic clock in seconds.

        Raises
        ------
        RunError
            If no worker has been there for longer than the search is to wait, or the scheduler is silent for long.
        """
        if threads is None:
            self._answered_at = now if self._answered_at is None else self._answered_at
            return self._patience(now - self._answered_at, "the scheduler has not answered", _SILENCE_S)
        self._answered_at = now
        changes = self._changes(threads, now)
        if threads:
            self.none_since, self._said_s = None, 0.0
            return changes
        self.none_since = now if self.none_since is None else self.none_since
        return self._patience(now - self.none_since, "no worker has been there", self._wait_s) or changes

    def _patience(self, seconds: float, what: str, most_s: float | None) -> str | None:
        """Return from time to time a message that something is missing; raise `RunError` if it is for too long."""
        if most_s is not None and seconds > most_s:
            raise RunError(f"{what} for {duration(seconds)}{self._hint}")
        if seconds < self._said_s:  # it was there in between
            self._said_s = 0.0
        if seconds < max(_FIRST_S, min(2 * self._said_s, self._said_s + _OFTEN_S)):
            return None
        self._said_s = seconds
        return f"{what} for {duration(seconds)}{self._hint}"

    def _changes(self, threads: Mapping[str, int], now: float) -> str | None:
        """Set the workers, and return a message about those that joined or left."""
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
