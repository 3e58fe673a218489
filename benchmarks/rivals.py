"""The optimizers that `Evolution` is compared with, over any search space. Pure.

All of them but `RegularizedEvolution` in its published form leave out networks that were asked for before, which is
worth more than the choice of the algorithm. They share our mutations and crossovers, so that what differs is the
algorithm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import UserError
from menndl_dask.evolution.crossover import crossovers
from menndl_dask.evolution.mutation import mutations
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

Floats = NDArray[np.float64]
_TRIES = 40  # children bred in vain before a network that was asked for before is asked for again


class Rival:
    """Base of the rivals: numbers the individuals, keeps the best, and draws at random."""

    def __init__(self, space: SearchSpace, seed: int = 0, workers: int = 1) -> None:
        self.space, self.workers = space, workers
        self.rng = np.random.default_rng(seed)
        self._keys: set[str] = set()
        self._next_id = 0
        self._best: tuple[Individual, Result] | None = None
        self._mutations = [operator for operator, _ in mutations(space).values()]
        self._crossovers = [operator for operator, _ in crossovers(space).values()]

    def ask(self) -> Individual:
        """Return the next individual."""
        individual = Individual(self._next_id, self.propose())
        self.recall(individual)
        return individual

    def recall(self, individual: Individual) -> None:
        """Take note of an individual."""
        self._keys.add(individual.genome.key)
        self._next_id = max(self._next_id, individual.id + 1)

    def tell(self, individual: Individual, result: Result) -> None:
        """Take a result."""
        if result.fitness is None:
            return
        if self._best is None or result.fitness > (self._best[1].fitness or -np.inf):
            self._best = individual, result
        self.learn(individual.genome, result.fitness)

    def best(self) -> tuple[Individual, Result]:
        """Return the fittest."""
        if self._best is None:
            raise UserError("no network has been evaluated yet")
        return self._best

    def propose(self) -> Genome:
        """Return the next network."""
        return self.unseen(lambda: self.space.sample(self.rng))

    def learn(self, genome: Genome, fitness: float) -> None:
        """Take the fitness of a network that did not fail."""

    def unseen(self, make: Callable[[], Genome]) -> Genome:
        """Return something made that was not asked for before, if it can be made."""
        for _ in range(_TRIES):
            genome = make()
            if genome.key not in self._keys:
                break
        return genome

    def mutated(self, genome: Genome) -> Genome:
        """Return a mutated network, in the space."""
        operator = self._mutations[self.rng.integers(len(self._mutations))]
        return self.space.repair(operator(genome, self.space, self.rng), self.rng)


class RandomSearch(Rival):
    """Draws from the space."""


class RegularizedEvolution(Rival):
    """The oldest dies (Real et al. 2019, doi:10.1609/aaai.v33i01.33014780): tournaments of `sample`."""

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        workers: int = 1,
        *,
        size: int = 100,
        sample: int = 25,
        repeat: bool = True,
    ) -> None:
        super().__init__(space, seed, workers)
        self._size, self._sample, self._repeat = size, sample, repeat
        self._members: deque[tuple[Genome, float]] = deque(maxlen=size)

    def propose(self) -> Genome:
        """Mutate the best of a random sample."""
        if self._next_id < self._size or len(self._members) < 2:
            return self.space.sample(self.rng) if self._repeat else super().propose()
        drawn = self.rng.integers(len(self._members), size=min(self._sample, len(self._members)))
        parent = max((self._members[i] for i in drawn), key=lambda member: member[1])[0]
        return self.mutated(parent) if self._repeat else self.unseen(lambda: self.mutated(parent))

    def learn(self, genome: Genome, fitness: float) -> None:
        """Let a member in, and the oldest out."""
        self._members.append((genome, fitness))


class SteadyState(Rival):
    """A steady-state genetic algorithm: tournaments, crossover and mutation, and the worst dies."""

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        workers: int = 1,
        *,
        size: int = 30,
        sample: int = 3,
        crossed: float = 0.7,
    ) -> None:
        super().__init__(space, seed, workers)
        self._size, self._sample = size, sample
        self._crossed = crossed if self._crossovers else 0.0
        self._members: list[tuple[float, Genome]] = []

    def propose(self) -> Genome:
        """Breed a child of the fitter."""
        if self._next_id < self._size or len(self._members) < 2:
            return super().propose()
        return self.unseen(self.child)

    def parent(self) -> Genome:
        """Return the winner of a tournament."""
        drawn = self.rng.integers(len(self._members), size=self._sample)
        return max((self._members[i] for i in drawn), key=lambda member: member[0])[1]

    def child(self) -> Genome:
        """Cross two winners, and mutate half of their children; or mutate one."""
        first = self.parent()
        if self.rng.random() >= self._crossed:
            return self.mutated(first)
        operator = self._crossovers[self.rng.integers(len(self._crossovers))]
        child = self.space.repair(operator(first, self.parent(), self.space, self.rng), self.rng)
        if child.key not in self._keys and self.rng.random() < 0.5:
            return child
        return self.mutated(child)

    def learn(self, genome: Genome, fitness: float) -> None:
        """Let a member in, and the worst out."""
        self._members.append((fitness, genome))
        if len(self._members) > self._size:
            self._members.remove(min(self._members, key=lambda member: member[0]))


class ScreenedGA(SteadyState):
    """The strongest so far: the steady-state algorithm whose children a Gaussian process screens.

    Of 80 children the one with the highest upper confidence bound, whose factor is drawn for each child, is asked for.
    The kernel falls with the number of fields that differ, place by place; networks of different length are filled up.
    """

    _RANDOM, _BRED, _POINTS = 20, 80, 400

    def __init__(self, space: SearchSpace, seed: int = 0, workers: int = 1) -> None:
        super().__init__(space, seed, workers)
        self._codes: dict[tuple[int, object], int] = {}
        self._longest = max(len(kind.domains()) + 3 for kind in (*space.fixed, *space.kinds))
        self._width = self._longest * (len(space.fixed) + space.maximum)
        self._rows: list[NDArray[np.int32]] = []
        self._fitness: list[float] = []
        self._fitted = 0
        self._inverse: Floats | None = None

    def propose(self) -> Genome:
        """Breed many children and return the most promising."""
        if self._next_id < self._RANDOM or len(self._rows) < 8:
            return self.unseen(lambda: self.space.sample(self.rng))
        if self._inverse is None or len(self._rows) - self._fitted >= max(8, len(self._rows) // 20):
            self._fit()
        bred = (self._bred() for _ in range(self._BRED))
        children = list({child.key: child for child in bred if child.key not in self._keys}.values())
        if not children:
            return self.unseen(lambda: self.space.sample(self.rng))
        near = self._kernel(np.stack([self._row(child) for child in children]), self._points)
        mean = near @ self._weights
        variance = np.maximum(1e-9, 1.02 - ((near @ self._inverse) * near).sum(1))
        return children[int((mean + self.rng.exponential() * np.sqrt(variance)).argmax())]

    def learn(self, genome: Genome, fitness: float) -> None:
        """Let a member in, and remember it."""
        super().learn(genome, fitness)
        self._rows.append(self._row(genome))
        self._fitness.append(fitness)

    def _bred(self) -> Genome:
        return self.child() if self.rng.random() < 0.6 else self.mutated(self.parent())

    def _row(self, genome: Genome) -> NDArray[np.int32]:
        values: list[object] = []
        for gene in genome.genes:
            fields = [str(value) for name, value in gene.to_dict().items() if name != "kind" or self.space.kinds]
            values += [*fields, *[""] * (self._longest - len(fields))] if self.space.kinds else fields
        row = np.zeros(self._width, dtype=np.int32)
        for place, value in enumerate(values[: self._width]):
            row[place] = self._codes.setdefault((place, value), len(self._codes) + 1)
        return row

    def _kernel(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> Floats:
        differ = (first[:, None, :] != second[None, :, :]).sum(2)
        places = max(1, int((second > 0).sum(1).mean()) if self.space.kinds else second.shape[1])
        return np.exp(-differ / max(1.5, places / 3.0))

    def _fit(self) -> None:
        fitness = np.array(self._fitness)
        order = np.argsort(fitness, kind="stable")
        kept = np.arange(len(order))
        if len(order) > self._POINTS:
            half = self._POINTS // 2
            kept = np.concatenate([order[-half:], self.rng.choice(order[:-half], half, replace=False)])
        share = (np.argsort(np.argsort(fitness[kept])) + 0.5) / len(kept)
        self._points = np.stack([self._rows[i] for i in kept])
        kernel = self._kernel(self._points, self._points) + 0.02 * np.eye(len(kept))
        self._inverse = np.linalg.inv(kernel)
        self._weights = self._inverse @ (0.55 * np.log(share / (1 - share)))
        self._fitted = len(fitness)
