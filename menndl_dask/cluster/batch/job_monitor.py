"""Detection of lost batch jobs, and of jobs that all fail, after which pauses become longer. Pure.

Neither Dask nor the batch system reports that a job is lost. Dask does not replace the workers of a cancelled job
(https://github.com/dask/distributed/issues/9102), and a job that was cancelled in the queue never had a worker.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_QUERIES = 2  # times in a row that a lost job is missing in the queue; a new job may not be listed yet
_SHORT_JOBS = 3  # number of short jobs in a row that is a crash loop
_ATTEMPTS = 8  # of short jobs in a row where jobs have worked before: for half an hour
_FIRST_PAUSE_S = 60.0  # before another job in a crash loop; doubled with each
_LONGEST_PAUSE_S = 1800.0


@dataclass(slots=True)
class _JobState:
    begun: float  # time when it was first seen
    first_worker: float | None = None  # time of its first worker
    empty_since: float | None = None  # time when it lost its last worker; None if it has some or never had one
    unlisted: int = 0  # times in a row that it was missing in the queue


class JobWatch:
    """Follows batch jobs by their number of workers and by the queue.

    Parameters
    ----------
    patience_s
        Seconds after which a job without its workers is lost. Before, they may be starting again.
    shortest_s
        Jobs that have had workers for fewer seconds are short. Three in a row are a crash loop, until one works for
        longer. Jobs that were submitted before another one failed do not count again: all fail for the same cause.
    """

    def __init__(self, patience_s: float = 30.0, shortest_s: float = 60.0) -> None:
        self._patience_s = patience_s
        self._shortest_s = shortest_s
        self._jobs: dict[str, _JobState] = {}
        self._short = 0
        self._counted_at = -math.inf  # time when the last short job was counted
        self._has_worked = False  # whether a job has ever had workers for long enough

    @property
    def in_crash_loop(self) -> bool:
        """Whether so many short jobs ended in a row that a new one is expected to fail too."""
        return self._short >= _SHORT_JOBS

    @property
    def has_failed(self) -> bool:
        """Whether none is expected to work soon: never one has, or they have failed for about half an hour."""
        return self._short >= (_ATTEMPTS if self._has_worked else _SHORT_JOBS)

    @property
    def short_jobs(self) -> int:
        """Number of short jobs in a row."""
        return self._short

    @property
    def pause_s(self) -> float:
        """Seconds between the end of a job and the next one; 0 unless in a crash loop."""
        if not self.in_crash_loop:
            return 0.0
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._short - _SHORT_JOBS, 10))

    @property
    def has_suspects(self) -> bool:
        """Whether a job has lost its workers, so that the queue should be checked soon."""
        return any(job.empty_since is not None for job in self._jobs.values())

    def update(
        self, now: float, workers: Mapping[str, int], numbers: Mapping[str, str], queued: Collection[str] | None
    ) -> list[str]:
        """Return the names of lost jobs, and follow them no longer.

        Parameters
        ----------
        now
            Time in seconds of a monotonic clock.
        workers, numbers
            Number of workers, and number in the batch system, by job name. Jobs without workers may be missing.
        queued
            Numbers of the jobs that wait or run. None if the queue was not read.
        """
        self._jobs = {name: self._jobs.get(name, _JobState(now)) for name in numbers}
        lost = []
        for name, job in self._jobs.items():
            if workers.get(name):
                job.first_worker = now if job.first_worker is None else job.first_worker
                job.empty_since, job.unlisted = None, 0
                if now - job.first_worker >= self._shortest_s:
                    self._has_worked = True
                    # one that was there before says nothing of what new ones would do
                    self._short = 0 if job.begun > self._counted_at else self._short
                continue
            if job.first_worker is not None and job.empty_since is None:
                job.empty_since = now
            if queued is not None:
                job.unlisted = 0 if numbers[name] in queued else job.unlisted + 1
            is_lost = job.empty_since is not None and now - job.empty_since >= self._patience_s
            if is_lost or job.unlisted >= _QUERIES:
                lost.append(name)
        for name in lost:
            job = self._jobs.pop(name)
            worked = 0.0 if job.first_worker is None or job.empty_since is None else job.empty_since - job.first_worker
            if worked < self._shortest_s:
                self._count(now, job.begun)
        return lost

    def record_refusal(self, now: float) -> None:
        """Count a job that the batch system refused."""
        self._count(now, now)

    def _count(self, now: float, begun: float) -> None:
        if begun > self._counted_at:
            self._short, self._counted_at = self._short + 1, now
