"""A search on many workers: one of its islands, evaluation by evaluation, and the load of each part. Runs anywhere.

The islands are alike, so that one stands for all. Its evolution takes the time that the real one took on a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from menndl_dask.performance.simulation.events import Events, Trace
from menndl_dask.performance.simulation.real_driver import DriverTimes

Floats = NDArray[np.float64]
# measured on two cores of a virtual machine, 30 November 2026: benchmarks/scale.md
HANDLING_S = 3e-3  # of the driver for an evaluation beside evolution: journal, request, result
SCHEDULER_S = 4e-3  # of the scheduler for an evaluation
HEARTBEAT_S = 5e-4  # of the scheduler for the heartbeat of a worker
HOP_S = 3e-3  # between scheduler and worker or driver
JOINS_PER_S = 50.0  # workers that register with a scheduler in a second
MOST_CONNECTIONS = 2000  # of a scheduler: not measured; above 5,500 others saw it stall (distributed issue 3691)
_LATER = 1.25  # times what an ask takes after a thousand results: after a hundred thousand
_CHUNK = 65_536
ROUNDS = 12  # evaluations of each worker that are simulated: in between the search goes on as it has been
_FULL = 0.9  # load from which on a process counts as saturated


@dataclass(frozen=True, slots=True)
class Evaluations:
    """How long evaluations take: log-normal, or drawn from known ones.

    Parameters
    ----------
    mean_s
        Their mean in seconds.
    spread
        Standard deviation divided by the mean, of log-normal ones.
    limit_s
        Seconds after which an evaluation is ended.
    known
        Seconds of evaluations to draw from, in place of log-normal ones.
    """

    mean_s: float
    spread: float = 0.5
    limit_s: float = math.inf
    known: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Return the seconds of some evaluations."""
        if self.known:
            return np.asarray(rng.choice(self.known, count), dtype=np.float64)
        sigma = math.sqrt(math.log1p(self.spread**2))
        seconds = self.mean_s * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)
        return np.minimum(seconds, self.limit_s)


class TimedDriver:
    """A driver that takes the measured times, without evolution; `first` are the seconds of the first evaluations."""

    def __init__(
        self, times: DriverTimes, evaluations: Evaluations, islands: int = 1, seed: int = 0, first: Sequence[float] = ()
    ) -> None:
        self._times, self._evaluations = times, evaluations
        self._rng = np.random.default_rng([seed, 2])
        self._drawn: list[float] = [*reversed(first)]
        self._results = 0
        self._exchange_s = times.exchange + (islands - 1) * times.read if islands > 1 else 0.0
        self._exchanged_at = 0.0

    def ask(self, count: int, now: float) -> tuple[list[tuple[float, None]], float]:
        """Return evaluations that take as long as drawn."""
        if len(self._drawn) < count:
            self._drawn = self._evaluations.draw(self._rng, _CHUNK).tolist() + self._drawn
        jobs = [(self._drawn.pop(), None) for _ in range(count)]
        each = count * self._times.random if not self._results else _LATER * self._times.asking(count)
        return jobs, each + count * HANDLING_S

    def tell(self, jobs: Sequence[None], now: float) -> float:
        """Take results."""
        self._results += len(jobs)
        spent = len(jobs) * self._times.tell
        if self._exchange_s and now - self._exchanged_at >= 1.0:
            self._exchanged_at = now
            spent += self._exchange_s
        return spent


@dataclass(frozen=True, slots=True)
class Simulated:
    """A search on many workers.

    Parameters
    ----------
    islands, workers, evaluations
        Of the whole search.
    trace
        Of one island.
    connections
        Dask workers of the scheduler of an island.
    """

    islands: int
    workers: int
    evaluations: int
    trace: Trace
    connections: int

    @property
    def per_s(self) -> float:
        """Evaluations a second of all islands while there is work."""
        return self.islands * self.trace.evaluations / max(self.trace.span, 1e-9)

    @property
    def scheduler_load(self) -> float:
        """Share of a core that the scheduler of an island needs."""
        # Dask's own rule for more than 200 workers; few workers say more often that they are there
        heartbeats = self.connections / max(0.5, self.connections / 200 + 1 if self.connections >= 200 else 2.0)
        return self.per_s / self.islands * SCHEDULER_S + heartbeats * HEARTBEAT_S

    @property
    def limits(self) -> list[str]:
        """What prevents a higher utilisation, or the search itself, in words."""
        found = []
        if self.trace.driver_load > _FULL:
            found.append("the driver is saturated")
        if self.scheduler_load > _FULL:
            found.append("the scheduler is saturated")
        if self.connections > MOST_CONNECTIONS:
            found.append(f"{self.connections:,} connections")
        return found


def simulate(
    times: DriverTimes, evaluations: Evaluations, *, workers: int, count: int, islands: int, per_worker: int = 1,
    seed: int = 0,
) -> Simulated:  # fmt: skip
    """Simulate a search of `count` evaluations on `workers`, dealt to islands.

    `per_worker` evaluations run at a time on each Dask worker: one, or as many as a node has GPUs with
    ``workers: per_node``.
    """
    own, share = -(-workers // islands), -(-count // islands)
    connections = -(-own // per_worker)
    driver = TimedDriver(times, evaluations, islands, seed)
    simulated = min(share, ROUNDS * own)
    trace = Events(driver, own, simulated, hop_s=HOP_S, joins_per_s=JOINS_PER_S * per_worker).run()
    return Simulated(islands, workers, count, _lengthened(trace, share), connections)


def _lengthened(trace: Trace, evaluations: int) -> Trace:
    """Return what happens in a search of more evaluations, whose middle goes on as it has been."""
    more, window = evaluations - trace.evaluations, trace.last_begun - trace.all_busy_at
    if more <= 0 or window <= 0:
        return trace
    busy_s = more * trace.busy_s / trace.evaluations
    longer = busy_s / (trace.workers * trace.utilisation)
    return replace(
        trace, evaluations=evaluations, last_begun=trace.last_begun + longer, span=trace.span + longer,
        busy_s=trace.busy_s + busy_s, steady_s=trace.steady_s + busy_s,
        driver_s=trace.driver_s * (trace.last_begun + longer) / trace.last_begun,
    )  # fmt: skip


def most_workers(times: DriverTimes, evaluations: Evaluations) -> int:
    """Return the workers that one driver keeps busy at most, if it always asks for sixteen networks together."""
    each = _LATER * times.asking(16) / 16 + HANDLING_S + times.tell
    return int(evaluations.mean_s / each)


def fitting_islands(workers: int, per_worker: int, driver_workers: int) -> int:
    """Return the fewest islands whose schedulers and drivers are not saturated."""
    connections = -(-workers // per_worker)
    return max(1, -(-connections // MOST_CONNECTIONS), math.ceil(workers / (_FULL * driver_workers)))
