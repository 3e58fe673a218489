"""A discrete-event simulation of asynchronous workers: any optimizer, any landscape, no cluster. Pure.

Evaluations take the landscape's seconds on simulated workers; the optimizer's own time may be counted too, as the time
of one driver that answers one request after the other.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from menndl_dask.evolution.evolution import SpaceExhausted
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.performance.simulation.events import Events
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

Floats = NDArray[np.float64]


class Optimizer(Protocol):
    """What can be simulated: `Evolution`, or anything else that proposes one network after the other."""

    def ask(self) -> Individual:
        """Return the next individual."""
        ...

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of an individual."""
        ...


class Outcome(NamedTuple):
    """What one evaluation gives: the noisy result, the value without noise, and how long it takes."""

    result: Result
    truth: float
    seconds: float


class Landscape(Protocol):
    """A search space with a known value for each of its networks."""

    name: str
    space: SearchSpace
    best: float  # largest value without noise
    floor: float  # what counts while nothing has succeeded
    good: float  # value of the best thousandth of the networks

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Evaluate a network once."""
        ...


@dataclass(slots=True)
class Trace:
    """What happened in one simulated search.

    Parameters
    ----------
    ends
        Simulated seconds at which each evaluation came home.
    truth
        Value without noise of the network with the best result so far, after each evaluation.
    found
        Largest value without noise of all networks so far, after each evaluation.
    busy
        Seconds that workers spent on evaluations.
    span
        Seconds from the start to the last result.
    last_ask
        Seconds from the start to when the last evaluation began.
    busy_before
        Seconds that workers spent on evaluations before `last_ask`.
    driver_s
        Real seconds of asking and telling.
    repeats
        Evaluations of a network that had been evaluated.
    """

    workers: int
    ends: list[float] = field(default_factory=list)
    truth: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    busy: float = 0.0
    span: float = 0.0
    last_ask: float = 0.0
    busy_before: float = 0.0
    driver_s: float = 0.0
    repeats: int = 0

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that was spent on evaluations, until the last one began."""
        return self.busy_before / (self.workers * self.last_ask) if self.last_ask else 1.0

    def value_at(self, evaluations: int, *, found: bool = False) -> float:
        """Return the value of the network with the best result, or of the best one, within so many evaluations."""
        values = self.found if found else self.truth
        return values[min(evaluations, len(values)) - 1]

    def seconds_to(self, value: float) -> float:
        """Return the simulated time until a value is reached; infinite if it never is."""
        return next((end for end, truth in zip(self.ends, self.truth, strict=True) if truth >= value), np.inf)


class _Incumbent:
    """The network with the best result so far, and the list of its values without noise."""

    def __init__(self, trace: Trace, floor: float) -> None:
        self._trace, self._best, self._truth, self._found = trace, -np.inf, floor, floor

    def note(self, end: float, outcome: Outcome) -> None:
        """Take a result home."""
        fitness = outcome.result.fitness
        if fitness is not None:
            self._found = max(self._found, outcome.truth)
            if fitness > self._best:
                self._best, self._truth = fitness, outcome.truth
        self._trace.ends.append(end)
        self._trace.truth.append(self._truth)
        self._trace.found.append(self._found)


def simulate(
    make: Callable[[SearchSpace, int, int], Optimizer],
    landscape: Landscape,
    evaluations: int,
    workers: int,
    seed: int,
    *,
    count_driver: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Trace:
    """Search asynchronously: a worker that is free asks for the next network at once.

    Parameters
    ----------
    make
        Makes the optimizer from a space, a seed and the number of workers.
    count_driver
        Let workers wait while the driver thinks, by its real time.
    """
    trace = Trace(workers)
    optimizer = make(landscape.space, seed, workers)
    driver = _Searcher(optimizer, landscape, trace, seed, count_driver, clock)
    events = Events(driver, workers, evaluations, batch=1, has_spare=False)
    events.run()
    _account(trace, events.spans)
    return trace


@dataclass(slots=True)
class _Searcher:
    """An optimizer on a landscape, as the driver of a simulation."""

    optimizer: Optimizer
    landscape: Landscape
    trace: Trace
    seed: int
    is_counted: bool  # whether workers wait while the driver thinks
    clock: Callable[[], float]
    rng: np.random.Generator = field(init=False)
    incumbent: _Incumbent = field(init=False)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 1])
        self.incumbent = _Incumbent(self.trace, self.landscape.floor)

    def ask(self, count: int, now: float) -> tuple[list[tuple[float, tuple[Individual, Outcome]]], float]:
        """Ask for a network and evaluate it."""
        start = self.clock()
        try:
            individual = self.optimizer.ask()
        except SpaceExhausted:
            return [], 0.0
        spent = self.clock() - start
        self.trace.driver_s += spent
        outcome = self.landscape.evaluate(individual.genome, self.rng)
        self.trace.repeats += individual.genome.key in self.seen
        self.seen.add(individual.genome.key)
        return [(outcome.seconds, (individual, outcome))], spent if self.is_counted else 0.0

    def tell(self, jobs: Sequence[tuple[Individual, Outcome]], now: float) -> float:
        """Take results."""
        start = self.clock()
        for individual, outcome in jobs:
            self.incumbent.note(now, outcome)
            self.optimizer.tell(individual, outcome.result)
        spent = self.clock() - start
        self.trace.driver_s += spent
        return spent if self.is_counted else 0.0


def simulate_generations(
    make: Callable[[SearchSpace, int, int], Optimizer],
    landscape: Landscape,
    evaluations: int,
    workers: int,
    seed: int,
    *,
    per_worker: int = 1,
) -> Trace:
    """Search in generations: all of one are evaluated before the next is asked for."""
    rng = np.random.default_rng([seed, 1])
    optimizer = make(landscape.space, seed, workers)
    trace = Trace(workers)
    incumbent = _Incumbent(trace, landscape.floor)
    spans: list[tuple[float, float]] = []
    now = 0.0
    while len(spans) < evaluations:
        generation = [optimizer.ask() for _ in range(min(workers * per_worker, evaluations - len(spans)))]
        free = [now] * workers
        home = []
        for number, individual in enumerate(generation):
            outcome = landscape.evaluate(individual.genome, rng)
            start = heapq.heappop(free)
            heapq.heappush(free, start + outcome.seconds)
            spans.append((start, start + outcome.seconds))
            home.append((start + outcome.seconds, number, individual, outcome))
        for end, _, individual, outcome in sorted(home, key=lambda entry: entry[:2]):
            incumbent.note(end, outcome)
            optimizer.tell(individual, outcome.result)
            now = end
    _account(trace, spans)
    return trace


def _account(trace: Trace, spans: list[tuple[float, float]]) -> None:
    starts, ends = np.array(spans).T
    trace.last_ask, trace.span = float(starts.max()), float(ends.max())
    trace.busy = float((ends - starts).sum())
    trace.busy_before = float((np.minimum(ends, trace.last_ask) - starts).sum())
