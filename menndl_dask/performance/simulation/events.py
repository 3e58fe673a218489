"""Discrete events of one search: a driver, its workers, and evaluations that take their time. Pure.

The driver works as `menndl_dask.search.driver` does: it takes all results that have arrived, tells them, and asks for
networks until enough are in flight. Meanwhile workers take what waits on the scheduler. A worker is idle only if none
waits there.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from menndl_dask.search.workers import Workers

Job = TypeVar("Job")


class Driver(Protocol[Job]):
    """What proposes evaluations and learns from them, and how long that takes it."""

    def ask(self, count: int, now: float) -> tuple[list[tuple[float, Job]], float]:
        """Return up to `count` evaluations with the seconds of each, and the driver's seconds; none at the end."""
        ...

    def tell(self, jobs: Sequence[Job], now: float) -> float:
        """Take the results of evaluations; return the driver's seconds."""
        ...


@dataclass(slots=True)
class Trace:
    """What happened.

    Parameters
    ----------
    workers
        Number of workers.
    evaluations
        Number of results.
    all_busy_at
        Seconds until every worker has had an evaluation.
    last_begun
        Seconds until no evaluation was left that had not begun.
    span
        Seconds until the last result.
    busy_s
        Seconds of workers on evaluations, in all.
    steady_s
        Those of them between `all_busy_at` and `last_begun`.
    driver_s
        Seconds that the driver worked.
    """

    workers: int
    evaluations: int = 0
    all_busy_at: float = 0.0
    last_begun: float = 0.0
    span: float = 0.0
    busy_s: float = 0.0
    steady_s: float = 0.0
    driver_s: float = 0.0

    @property
    def utilisation(self) -> float:
        """Share of the workers' time on evaluations while there was work: all had begun, and some was left."""
        window = self.last_begun - self.all_busy_at
        return self.steady_s / (self.workers * window) if window > 0 else self.overall

    @property
    def overall(self) -> float:
        """Share of the workers' time on evaluations from the start to the last result."""
        return self.busy_s / (self.workers * self.span) if self.span else 1.0

    @property
    def driver_load(self) -> float:
        """Share of the time until the last evaluation began that the driver worked."""
        return self.driver_s / self.last_begun if self.last_begun else 0.0


class Events(Generic[Job]):
    """The events of one search, one after the other.

    Parameters
    ----------
    driver
        Proposes evaluations.
    workers, evaluations
        Evaluations at a time, and in all.
    batch
        Networks that the driver asks for at a time.
    hop_s
        Seconds between scheduler and worker or driver.
    joins_per_s
        Workers that join in a second; infinite: all are there at the start.
    has_spare
        Whether a few evaluations wait on the scheduler, as in a real search.

    Attributes
    ----------
    trace
        What has happened.
    spans
        When each evaluation began and ended, in seconds.
    """

    def __init__(
        self, driver: Driver[Job], workers: int, evaluations: int, *, batch: int = 16, hop_s: float = 0.0,
        joins_per_s: float = math.inf, has_spare: bool = True,
    ) -> None:  # fmt: skip
        self.trace = Trace(workers)
        self._driver, self._evaluations, self._batch, self._hop_s = driver, evaluations, batch, hop_s
        self._has_spare = has_spare
        self._slots = Workers()  # knows how many evaluations should be in flight
        self._joins = deque(number / joins_per_s for number in range(workers))
        self._running: list[tuple[float, int, Job]] = []
        self._ready: deque[tuple[float, Job]] = deque()
        self._idle = 0
        self._begun = self._asked = self._in_flight = 0
        self._done: list[Job] = []
        self._done_at = 0.0  # when the first of these ended
        self._free_at = 0.0  # the driver
        self._submitted: tuple[float, list[tuple[float, Job]]] | None = None
        self.spans: list[tuple[float, float]] = []
        self._is_exhausted = False

    def run(self) -> Trace:
        """Let everything happen; return what did."""
        for _ in self.steps():
            pass
        return self.trace

    def steps(self) -> Iterator[float]:
        """Let one event after the other happen; yield the time of each."""
        while True:
            self._ask()
            join = self._joins[0] if self._joins else math.inf
            end = self._running[0][0] if self._running else math.inf
            acts = self._driver_acts_at()
            now = min(join, end, acts)
            if now == math.inf:
                break
            if join <= now:
                self._join(now)
            elif end <= now:
                self._end(now)
            elif self._submitted is not None:
                self._arrive(now)
            else:
                self._tell(now)
            yield now
        account(self.trace, self.spans)

    def _driver_acts_at(self) -> float:
        if self._submitted is not None:
            return self._submitted[0]
        return max(self._free_at, self._done_at + self._hop_s) if self._done else math.inf

    def _ask(self) -> None:
        """Let the driver ask as soon as it is free, if more evaluations should be in flight."""
        if self._submitted is not None or self._is_exhausted or not self._slots.slots:
            return
        target = self._slots.target_in_flight(self._asked) if self._has_spare else self._slots.slots
        count = min(self._batch, target - self._in_flight, self._evaluations - self._asked)
        if count <= 0:
            return
        jobs, spent = self._driver.ask(count, self._free_at)
        self._is_exhausted = not jobs
        self._asked += len(jobs)
        self._in_flight += len(jobs)
        self._work(spent)
        if jobs:
            self._submitted = self._free_at, jobs

    def _work(self, seconds: float) -> None:
        self._free_at += seconds
        self.trace.driver_s += seconds

    def _join(self, now: float) -> None:
        self._free_at = max(self._free_at, now)
        while self._joins and self._joins[0] <= now:
            self._joins.popleft()
            self._slots.slots += 1
            self._give(now)

    def _end(self, now: float) -> None:
        _, _, job = heapq.heappop(self._running)
        if not self._done:
            self._done_at = now
        self._done.append(job)
        self._give(now)

    def _give(self, now: float) -> None:
        """Give a worker that is free the next evaluation that waits on the scheduler, if any."""
        if self._ready:
            self._begin(self._ready.popleft(), now + self._hop_s)
        else:
            self._idle += 1

    def _arrive(self, now: float) -> None:
        assert self._submitted is not None
        for one in self._submitted[1]:
            if self._idle:
                self._idle -= 1
                self._begin(one, now + self._hop_s)
            else:
                self._ready.append(one)
        self._submitted = None

    def _begin(self, one: tuple[float, Job], now: float) -> None:
        seconds, job = one
        self._begun += 1
        heapq.heappush(self._running, (now + seconds, self._begun, job))
        self.spans.append((now, now + seconds))
        if self._begun == self.trace.workers:
            self.trace.all_busy_at = now

    def _tell(self, now: float) -> None:
        jobs, self._done = self._done, []
        self._in_flight -= len(jobs)
        self.trace.evaluations += len(jobs)
        self._free_at = now
        self._work(self._driver.tell(jobs, now))


def account(trace: Trace, spans: Sequence[tuple[float, float]]) -> None:
    """Set what follows from when each evaluation began and ended, in seconds; `all_busy_at` is known."""
    if not spans:
        return
    trace.last_begun = max(begin for begin, _ in spans)
    trace.span = max(end for _, end in spans)
    first, last = trace.all_busy_at, trace.last_begun
    for begin, end in spans:
        trace.busy_s += end - begin
        trace.steady_s += max(0.0, min(end, last) - max(begin, first))
