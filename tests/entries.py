"""Evaluated networks of a space of slots, for tests of what is learned from them."""

from __future__ import annotations

import numpy as np

from menndl_dask.evolution.surrogate.acquisition import Observation
from menndl_dask.genome.genome import Genome
from menndl_dask.space.space import SearchSpace
from tests.spaces import Edge

SPACE = SearchSpace.slots([Edge] * 8)


def observations(number: int, *, failing: int = 0) -> list[Observation]:
    """Return random networks and how good they are; every so many one fails."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(number):
        genome = SPACE.sample(rng)
        failed = failing and i % failing == 0
        found.append(Observation(genome, None if failed else (score(genome),)))
    return found


def score(genome: Genome) -> float:
    """Return how good a network is."""
    return float(sum(g.operation == "conv3" for g in genome.genes))  # type: ignore[attr-defined]
