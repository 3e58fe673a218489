"""Offspring: networks bred by crossover and mutation from the better of their parents. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from menndl_dask.evolution.crossover import crossovers
from menndl_dask.evolution.mutation import REPEAT, in_a_cell, mutations
from menndl_dask.genome.forms.cell import Cell, size_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.space.space import SearchSpace

_FOLDED = 0.7  # share of parents with repeated layers that are bred as genomes with cells, the others layer by layer
_IN_A_CELL = 0.5  # share of mutations of a genome with cells that change all repetitions of one alike
_MUTATED_AGAIN = 0.5  # share of offspring that are mutated once more, and of these again, so that some differ much


@dataclass(frozen=True, slots=True, eq=False)
class Offspring:
    """A network that may be evaluated, or may become a parent.

    Parameters
    ----------
    genome
        As the operators left it: it may break the space's rules until it is repaired.
    parents
        The evaluated individuals that it descends from, one or two.
    origin
        Name of the operator that made it.
    """

    genome: Genome
    parents: tuple[Individual, ...]
    origin: str = ""


class Variation:
    """The crossovers and mutations that make sense in a space.

    Parameters
    ----------
    space
        Search space of the genomes.

    Attributes
    ----------
    priors
        Weight of each operator before anything is known.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._deepest = space.deepest if space.rules is not None else math.inf
        self._longer: dict[int, SearchSpace] = {}
        crossed, mutated = crossovers(space), mutations(space)
        self._crossovers = {name: operator for name, (operator, _) in crossed.items()}
        self._mutations = {name: operator for name, (operator, _) in mutated.items()}
        self.priors = {name: weight for name, (_, weight) in (*crossed.items(), *mutated.items())}

    def breed(
        self,
        parents: Sequence[Offspring],
        rates: Mapping[str, float],
        tournament: int,
        number: int,
        rng: np.random.Generator,
    ) -> Iterator[Offspring]:
        """Yield offspring of winners of tournaments.

        Parameters
        ----------
        parents
            Who may become a parent, the best first.
        rates
            Probability of each operator; they sum to 1.
        tournament
            Parents drawn for each tournament.
        number
            How many offspring.
        rng
            Source of all randomness.
        """
        winners = rng.integers(len(parents), size=(number, 2, tournament)).min(2)
        names, shares = list(rates), np.fromiter(rates.values(), float)
        drawn = rng.choice(len(names), number, p=shares)
        counts = rng.geometric(1.0 - _MUTATED_AGAIN, number) - 1
        of_mutations = shares * [name in self._mutations for name in names]
        further = iter(rng.choice(len(names), counts.sum(), p=of_mutations / of_mutations.sum()).tolist())
        for i in range(number):
            first, second = (parents[winner] for winner in winners[i])
            name = names[drawn[i]]
            genome, space = self._written(first.genome, rng)
            if name in self._mutations:
                genome, ancestors = self._mutated(name, genome, space, rng), first.parents
            else:
                genome = self._crossovers[name](genome, self._written(second.genome, rng)[0], space, rng)
                ancestors = (first.parents[0], second.parents[0])
            for place in islice(further, counts[i]):
                genome = self._mutated(names[place], genome, space, rng)
            yield Offspring(genome if size_of(genome.genes) <= self._deepest else first.genome, ancestors, name)

    def _written(self, genome: Genome, rng: np.random.Generator) -> tuple[Genome, SearchSpace]:
        """Return a parent with cells for what is repeated, or layer by layer, and the space in which it is bred.

        Layer by layer it may have more genes than the space allows, and as many more when it was mutated.
        """
        if self._space.rules is None or genome.folded() is genome.canonical():
            return genome, self._space
        if rng.random() < _FOLDED:
            return genome.folded(), self._space
        more = len(genome.canonical()) - len(genome.folded())
        if more not in self._longer:
            self._longer[more] = replace(self._space, maximum=self._space.maximum + more)
        return genome.canonical(), self._longer[more]

    def _mutated(self, name: str, genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
        mutation = self._mutations[name]
        if name != REPEAT and any(isinstance(gene, Cell) for gene in genome.genes) and rng.random() < _IN_A_CELL:
            return in_a_cell(mutation, genome, space, rng)
        return mutation(genome, space, rng)
