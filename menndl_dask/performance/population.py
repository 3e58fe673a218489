"""A fixed list of networks in the place of an evolution: a benchmark trains them as they are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, islice

import numpy as np

from menndl_dask.errors import UserError
from menndl_dask.evolution.evolution import SpaceExhausted
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Evaluation, Individual, ranked
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

_STREAM = 5  # of random numbers: searches with the same seed draw others
_DRAWS = 100  # for one new network


def drawn(space: SearchSpace, number: int, seed: int) -> list[Genome]:
    """Return networks of a space, drawn at random, each another one.

    Raises
    ------
    UserError
        If the space has too few.
    """
    found: dict[str, Genome] = {}
    streams = (np.random.default_rng([seed, index, _STREAM]) for index in count())
    for rng in islice(streams, _DRAWS * number):
        genome = space.sample(rng)
        found.setdefault(genome.key, genome)
        if len(found) == number:
            return list(found.values())
    raise UserError(f"--networks: expected at most {len(found)}, as many as are found in the space, got {number}")


class FixedPopulation:
    """Networks that are proposed in their order, each once; asked and told like an evolution."""

    def __init__(self, genomes: Sequence[Genome]) -> None:
        self._genomes = genomes
        self._next = 0
        self._evaluations: list[Evaluation] = []

    def ask(self, n: int) -> list[Individual]:
        """Return the next networks, up to `n`; raises `SpaceExhausted` after the last one."""
        numbers = range(self._next, min(self._next + n, len(self._genomes)))
        if not numbers:
            raise SpaceExhausted("all networks of the benchmark have been asked for")
        self._next = numbers.stop
        return [Individual(number, self._genomes[number]) for number in numbers]

    def recall(self, individual: Individual) -> None:
        """Take note of a network that was asked for in an earlier process."""
        self._next = max(self._next, individual.id + 1)

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of a network."""
        self._evaluations.append((individual, result))

    def best(self) -> Evaluation:
        """Return the fittest network told so far, and its result."""
        return ranked(self._evaluations, 1)[0]
