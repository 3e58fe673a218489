"""Litters: children bred together, from the population as it was at one moment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.operators.crossover import Crossover, crossovers
from menndl_dask.operators.mutation import Mutation, mutations
from menndl_dask.population import Floats, Member, standing
from menndl_dask.space import SearchSpace

_MUTATED = 0.5  # share of the crossed children that are mutated too


@dataclass(slots=True, eq=False)
class Child:
    """A network that may be evaluated one day.

    Parameters
    ----------
    bred
        As the operators left it; it may break the space's rules.
    parents
        Its parents.
    origin
        Name of the operator that made it.
    seed
        Of its mending, so that it is mended to the same network whenever that is done.
    """

    bred: Genome
    parents: tuple[Individual, ...]
    origin: str
    seed: tuple[int, ...] = ()
    _mended: Genome | None = None

    @property
    def is_mended(self) -> bool:
        """Whether it is known what it is mended to."""
        return self._mended is not None

    def mended(self, space: SearchSpace) -> Genome:
        """Return the genome brought into the space."""
        if self._mended is None:
            self._mended = space.repair(self.bred, np.random.default_rng(self.seed))
        return self._mended


def points(children: Sequence[Child], describe: Descriptor) -> Floats:
    """Return the descriptors of children as they were bred, one a row; each costs about what its first parent costs."""
    costs = [describe.kept(child.parents[0].genome) for child in children]
    return describe.together([child.bred for child in children], costs)


class Parent(NamedTuple):
    """Who breeds: a genome, and the evaluated individuals that it comes from, itself or those before it."""

    genome: Genome
    line: tuple[Individual, ...]


class Operators:
    """The crossovers and mutations that make sense in a space, and their weights before anything is known."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        crossed, mutated = crossovers(space), mutations(space)
        self.crossovers: dict[str, Crossover] = {name: operator for name, (operator, _) in crossed.items()}
        self.mutations: dict[str, Mutation] = {name: operator for name, (operator, _) in mutated.items()}
        self.priors = {name: weight for name, (_, weight) in (*crossed.items(), *mutated.items())}

    def breed(
        self, ranked: Sequence[Parent], weights: Mapping[str, float], size: int, number: int, rng: np.random.Generator
    ) -> Iterator[Child]:
        """Breed children of winners of tournaments, each when it is asked for.

        Parameters
        ----------
        ranked
            Who may become a parent, the best first.
        weights
            How often each operator is used; they sum to 1.
        size
            Parents in a tournament.
        number
            How many children.
        """
        winners = rng.integers(len(ranked), size=(number, 2, size)).min(2)
        names = list(weights)
        shares = np.fromiter(weights.values(), float)
        drawn = rng.choice(len(names), size=number, p=shares)
        of_mutations = shares * [name in self.mutations for name in names]
        further = rng.choice(len(names), size=number, p=of_mutations / of_mutations.sum())
        mutated = rng.random(number) < _MUTATED
        for i in range(number):
            first, second = (ranked[w] for w in winners[i])
            name = names[drawn[i]]
            if name in self.mutations:
                child = self.mutations[name](first.genome, self._space, rng)
                yield Child(child, first.line, name)
                continue
            child = self.crossovers[name](first.genome, second.genome, self._space, rng)
            if mutated[i]:
                child = self.mutations[names[further[i]]](child, self._space, rng)
            yield Child(child, (first.line[0], second.line[0]), name)


class Litter:
    """Children that are bred when somebody looks at them, from what was known when the litter was put down.

    A replayed journal puts litters down as the run did, and breeds only those that are looked at.

    Parameters
    ----------
    operators
        How children are bred.
    members, weights
        The population and the operators' weights at this moment.
    size, number
        Members in a tournament, and children.
    seed
        Of all that is random in it.

    Attributes
    ----------
    breeders
        Numbers of those that may be parents of its children.
    """

    def __init__(
        self,
        operators: Operators,
        members: Sequence[Member],
        weights: Mapping[str, float],
        size: int,
        number: int,
        seed: Sequence[int],
    ) -> None:
        self._operators, self._members, self._weights = operators, tuple(members), weights
        self._size, self._number, self._seed = size, number, tuple(seed)
        self._children: list[Child] = []
        self._coming: Iterator[Child] | None = None
        self.breeders = frozenset(member.individual.id for member in members)
        self._points: Floats | None = None

    @property
    def children(self) -> list[Child]:
        """All children; none if there was nobody to breed them."""
        while len(self._children) < self._number and self._breed_one():
            pass
        return self._children

    def points(self, describe: Descriptor) -> Floats:
        """Return the descriptors of the children, one a row."""
        if self._points is None:
            self._points = points(self.children, describe)
        return self._points

    def __iter__(self) -> Iterator[Child]:
        """Yield the children; those that nobody has come to yet are not bred."""
        place = 0
        while place < len(self._children) or self._breed_one():
            yield self._children[place]
            place += 1

    def _breed_one(self) -> bool:
        """Breed one more; return whether there is one."""
        if self._coming is None:
            if not self._members:
                return False
            rng = np.random.default_rng(self._seed)
            ranked = [self._members[i].individual for i in np.argsort(standing(self._members))]
            parents = [Parent(individual.genome, (individual,)) for individual in ranked]
            self._coming = self._operators.breed(parents, self._weights, self._size, self._number, rng)
            self._members = ()
        child = next(self._coming, None)
        if child is None:
            return False
        child.seed = (*self._seed, len(self._children))
        self._children.append(child)
        return True
