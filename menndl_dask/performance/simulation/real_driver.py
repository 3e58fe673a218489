"""The real evolution, and the real exchange between islands, as drivers of a simulation. Runs on the driver.

Fitness is made up: it decides which networks are parents, and not how long evolution thinks. What is measured is the
processor time of this thread, which others on the machine change little.
"""

from __future__ import annotations

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from menndl_dask.evolution.evolution import Evolution, SpaceExhausted
from menndl_dask.genome.individual import Individual
from menndl_dask.performance.simulation.events import Events
from menndl_dask.result import Result
from menndl_dask.run.layout import first_number, folder_of
from menndl_dask.run.progress import Counts
from menndl_dask.run.recorder import Recorder
from menndl_dask.search.islands.migration import Migration
from menndl_dask.search.islands.status import IslandStatus
from menndl_dask.space.space import SearchSpace

_EPOCHS = 8
_FAILING = 1 / 8  # of the made-up results
_CHECK_S = 1.0  # between two exchanges, as the driver's
_CALM = 100  # results after which asks are measured
_SINGLE, _FEW, _BATCH = 1, 4, 16  # networks of the asks that are measured on their own
_REPEATS = 4

Draw = Callable[[np.random.Generator], float]


@dataclass(frozen=True, slots=True)
class DriverTimes:
    """Measured processor seconds of a driver, for each network unless said otherwise.

    Parameters
    ----------
    random
        Asking before the first results are there.
    ask
        Asking later, by the number of networks that are asked for together.
    tell
        Telling a result.
    exchange
        An exchange with the other islands once a second: writing the own status, and taking in migrants.
    read
        Reading the status of one other island in it.
    evaluations
        Evaluations of the real evolution that were simulated for it.
    """

    random: float
    ask: dict[int, float]
    tell: float
    exchange: float = 0.0
    read: float = 0.0
    evaluations: int = 0

    def asking(self, count: int) -> float:
        """Return the seconds of an ask for so many networks after the first results.

        >>> DriverTimes(0.001, {1: 0.03, 4: 0.02, 16: 0.01}, 0.001).asking(16)
        0.16
        """
        sizes = sorted(self.ask)
        return count * float(np.interp(np.log(count), np.log(sizes), [self.ask[size] for size in sizes]))


class NoJournal:
    """Stands for the recorder of an island whose journal is not written."""

    def migrated(self, migrants: object) -> None:
        """Forget what is taken in."""


@dataclass(slots=True)
class IslandDriver:
    """The driver of an island: `Evolution` and its exchange with the others. Made by `islands`."""

    evolution: Evolution
    migration: Migration | None
    counts: Counts
    draw: Draw
    rng: np.random.Generator
    clock: Callable[[], float] = time.thread_time
    spent: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    exchanged_at: float = -_CHECK_S

    def ask(self, count: int, now: float) -> tuple[list[tuple[float, Individual]], float]:
        """Ask evolution for up to `count` networks."""
        begun = self.clock()
        try:
            asked = self.evolution.ask(count)
        except SpaceExhausted:
            return [], 0.0
        spent = self.clock() - begun
        kind = "random" if not self.counts.done else "ask" if self.counts.done >= _CALM else ""
        self.spent[kind].append(spent / len(asked))
        return [(self.draw(self.rng), one) for one in asked], spent

    def tell(self, jobs: Sequence[Individual], now: float) -> float:
        """Tell evolution made-up results, and exchange networks once a second."""
        begun = self.clock()
        for one in jobs:
            result = made_up(one)
            self.evolution.tell(one, result)
            self.counts.add(one, result)
        telling = self.clock() - begun
        self.spent["tell"].append(telling / len(jobs))
        if self.migration is None or now - self.exchanged_at < _CHECK_S:
            return telling
        self.exchanged_at = now
        begun = self.clock()
        self.migration.exchange(self.counts, 0, now)
        exchanged = self.clock() - begun
        self.spent["exchange"].append(exchanged)
        return exchanged + telling


def made_up(individual: Individual) -> Result:
    """Return a result that depends on the network alone; one of eight fails."""
    value = zlib.crc32(individual.genome.key.encode()) / 2**32
    if value < _FAILING:
        return Result.failed("no_learning", "made up")
    layers = len(individual.genome)
    shares = [epoch / _EPOCHS for epoch in range(1, _EPOCHS + 1)]
    curve = tuple({"share": share, "fitness": value * share} for share in shares)
    costs = {"parameters": 1e4 * layers, "flops_forward": 1e6 * layers}
    return Result(value - 0.01 * layers, costs=costs, curve=curve)


@contextmanager
def islands(
    space: SearchSpace, count: int, draw: Draw, seed: int = 0, *, every: int = 10, offered: int = 10,
    screen: bool = True, clock: Callable[[], float] = time.thread_time,
) -> Iterator[list[IslandDriver]]:  # fmt: skip
    """Yield the drivers of some islands, which exchange networks through files; a single one exchanges none.

    Parameters
    ----------
    space, seed
        Of the evolution of each.
    draw
        Returns the seconds of an evaluation.
    every, offered, screen
        See `Migration` and `Evolution`.
    clock
        Measures what the drivers take.
    """
    with TemporaryDirectory() as folder:
        each = []
        for number in range(count):
            folder_of(Path(folder), number).mkdir(parents=True)
            evolution = Evolution(space, seed=seed, first=first_number(number), screen=screen)
            recorder = cast(Recorder, NoJournal())
            migration = None
            if count > 1:
                migration = Migration(Path(folder), number, evolution, recorder, every=every, count=offered)
            rng = np.random.default_rng([seed, number])
            each.append(IslandDriver(evolution, migration, Counts(0.0, workers=1), draw, rng, clock))
        yield each


def together(events: Sequence[Events[Individual]]) -> None:
    """Let the events of several islands happen in the order of their times."""
    steps = [each.steps() for each in events]
    times = [next(each, None) for each in steps]
    while any(at is not None for at in times):
        first = min((at, number) for number, at in enumerate(times) if at is not None)[1]
        times[first] = next(steps[first], None)


def measure(
    space: SearchSpace, draw: Draw, *, workers: int, evaluations: int, count: int = 1, seed: int = 0,
    clock: Callable[[], float] = time.thread_time,
) -> tuple[DriverTimes, list[Events[Individual]]]:  # fmt: skip
    """Simulate the real evolution of some islands; return the times of their drivers, and what happened.

    `workers` and `evaluations` are those of each island. `clock` says what is measured; by default the processor time
    of this thread.
    """
    with islands(space, count, draw, seed, clock=clock) as drivers:
        events = [Events(driver, workers, evaluations) for driver in drivers]
        together(events)
        spent: defaultdict[str, list[float]] = defaultdict(list)
        for driver in drivers:
            for kind, values in driver.spent.items():
                spent[kind] += values
        by_size = {size: _asked_alone(drivers[0], size) for size in (_SINGLE, _FEW, _BATCH)}
        read, exchange = 0.0, 0.0
        if count > 1:
            folder = drivers[0].migration.folder if drivers[0].migration is not None else Path()
            begun = time.thread_time()
            for _ in range(_REPEATS):
                IslandStatus.read(folder)
            read = (time.thread_time() - begun) / _REPEATS
            exchange = max(0.0, float(np.mean(spent["exchange"])) - (count - 1) * read)
    random, tell = (float(np.mean(spent[kind] or [0.0])) for kind in ("random", "tell"))
    return DriverTimes(random, by_size, tell, exchange, read, count * evaluations), events


def _asked_alone(driver: IslandDriver, size: int) -> float:
    """Return the seconds for each network of asks for so many, with as many told."""
    spent = []
    for _ in range(_REPEATS):
        jobs, seconds = driver.ask(size, 0.0)
        if not jobs:
            break
        spent.append(seconds / len(jobs))
        driver.tell([job for _, job in jobs], driver.exchanged_at)
    return float(np.mean(spent)) if spent else 0.0
