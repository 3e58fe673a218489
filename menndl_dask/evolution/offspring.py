"""Offspring: networks bred by crossover and mutation from the better of their parents. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from menndl_dask.evolution.crossover import crossovers
from menndl_dask.evolution.mutation import mutations
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.space.space import SearchSpace

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
            if name in self._mutations:
                genome, ancestors = self._mutations[name](first.genome, self._space, rng), first.parents
            else:
                genome = self._crossovers[name](first.genome, second.genome, self._space, rng)
                ancestors = (first.parents[0], second.parents[0])
            for place in islice(further, counts[i]):
                genome = self._mutations[names[place]](genome, self._space, rng)
            yield Offspring(genome, ancestors, name)
