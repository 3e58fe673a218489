"""Small search spaces of every kind and a toy evaluation, for tests of the genetics."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from menndl_dask.genome.domain import choice, integer, real
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.training_gene import Training
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from tests.problems import PROBLEMS


@dataclass(frozen=True, slots=True)
class Edge(Gene):
    """A user's gene: one choice among unordered operations."""

    operation: str = choice("none", "skip", "conv1", "conv3", "pool")


@dataclass(frozen=True, slots=True)
class Step(Gene):
    """A user's gene with a field of each numeric domain."""

    width: int = integer(4, 64, log=True, default=8)
    rate: float = real(0.0, 1.0)
    size: int = choice(1, 3, 5, 7)


def even_edges(genome: Genome) -> str | None:
    """Ask for an even number of edges, as a user's constraint might."""
    return "an odd number of edges" if sum(isinstance(g, Edge) for g in genome.genes) % 2 else None


SPACES = {
    "slots": SearchSpace.slots([Edge] * 6),
    "one slot": SearchSpace.slots([Step]),
    "slots of several kinds": SearchSpace.slots([Training, Edge, Step, Edge]),
    "a sequence": SearchSpace.sequence([Edge, Step], minimum=1, maximum=7),
    "a sequence after a prefix": SearchSpace.sequence([Step], minimum=2, maximum=5, prefix=[Training]),
    "a constrained sequence": SearchSpace.sequence([Edge, Step], minimum=1, maximum=6, constraints=[even_edges]),
    "classes of images": SearchSpace.image(PROBLEMS["classes of 2-D images"], maximum=10),
    "pixels of images": SearchSpace.image(PROBLEMS["pixels of 2-D images"], maximum=14),
    "images of two views": SearchSpace.image(PROBLEMS["two views"], training=True, maximum=8),
    "volumes": SearchSpace.image(PROBLEMS["classes of 3-D images"], maximum=12),
}


def toy_result(individual: Individual) -> Result:
    """Return a made-up result that depends on the network alone; about one in eight fails."""
    chance = zlib.crc32(individual.genome.key.encode()) % 1000 / 1000
    if chance < 0.125:
        return Result.failed("no_learning", "made up")
    genes = individual.genome.genes
    wanted = sum(getattr(g, "operation", "") == "conv3" for g in genes)
    wanted += sum(getattr(g, "width", 0) > 16 for g in genes) + sum(getattr(g, "kernels", 0) > 24 for g in genes)
    return Result(wanted - 0.1 * len(genes) + 0.1 * chance, costs={"parameters": 1000.0 * len(genes) * chance})
