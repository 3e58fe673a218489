"""Which batch jobs have gone, and whether to ask for others in their place. Pure.

Dask sees workers, the batch system sees jobs, and neither tells when a job is lost: a group of workers whose job was
cancelled is never replaced (https://github.com/dask/distributed/issues/9102), and a job that was cancelled while it
waited never had a worker at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

_LOOKS = 2  # at the queue without the job, before it is believed to be gone: a new job may not be listed yet
_SHORT_JOBS = 3  # in a row, after which something must be wrong with all of them


@dataclass(slots=True)
class _Life:
    seen: float | None = None  # its first worker
    empty: float | None = None  # since when it has no worker, once it had some
    unlisted: int = 0  # looks at the queue in a row without it


class JobWatch:
    """Follows jobs by the workers that they have and by the queue.

    Parameters
    ----------
    patience_s
        For how long a job that has lost its workers is waited for: they may be starting again.
    shortest_s
        Jobs that have worked for less are short: three of them in a row are a crash loop.
    """

    def __init__(self, patience_s: float = 30.0, shortest_s: float = 60.0) -> None:
        self._patience_s = patience_s
        self._shortest_s = shortest_s
        self._lives: dict[str, _Life] = {}
        self._short = 0

    @property
    def in_crash_loop(self) -> bool:
        """Whether jobs end so early, one after another, that others in their place would too."""
        return self._short >= _SHORT_JOBS

    @property
    def doubts(self) -> bool:
        """Whether a job has lost its workers, so that a look at the queue would help."""
        return any(life.empty is not None for life in self._lives.values())

    def look(
        self, now: float, workers: Mapping[str, int], numbers: Mapping[str, str], queued: Collection[str] | None
    ) -> list[str]:
        """Return the names of the jobs that are lost, which are then forgotten.

        Parameters
        ----------
        now
            Seconds of a clock that never goes back.
        workers
            Number of workers of each job that has any, by its name.
        numbers
            Number of each job in the batch system, by its name.
        queued
            Numbers of the jobs that wait or run; nothing if the batch system was not asked.
        """
        self._lives = {name: self._lives.get(name, _Life()) for name in numbers}
        lost = []
        for name, life in self._lives.items():
            if workers.get(name):
                life.seen = now if life.seen is None else life.seen
                life.empty = None
                life.unlisted = 0
                continue
            if life.seen is not None and life.empty is None:
                life.empty = now
            if queued is not None:
                life.unlisted = 0 if numbers[name] in queued else life.unlisted + 1
            is_lost = life.empty is not None and now - life.empty >= self._patience_s
            if is_lost or life.unlisted >= _LOOKS:
                lost.append(name)
        for name in lost:
            self._bury(self._lives.pop(name))
        return lost

    def failed(self) -> None:
        """Count a job that could not even be submitted."""
        self._short += 1

    def _bury(self, life: _Life) -> None:
        worked = 0.0 if life.seen is None or life.empty is None else life.empty - life.seen
        self._short = self._short + 1 if worked < self._shortest_s else 0
