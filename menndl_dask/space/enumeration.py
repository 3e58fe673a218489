"""Enumeration: every genome of a small search space, one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from menndl_dask.genome.domain import every_value
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.space.space import SearchSpace


def every_genome(space: SearchSpace) -> Iterator[Genome]:
    """Yield all genomes of a space whose fields have finitely many values, the shortest first.

    Layers are not connected in other ways than one after the other.

    >>> from dataclasses import dataclass
    >>> from menndl_dask.genome.domain import choice
    >>> @dataclass(frozen=True, slots=True)
    ... class Edge(Gene):
    ...     operation: str = choice("none", "skip")
    >>> [[g.operation for g in genome.genes] for genome in every_genome(SearchSpace.slots([Edge] * 2))]
    [['none', 'none'], ['none', 'skip'], ['skip', 'none'], ['skip', 'skip']]
    """
    front = [every_gene(space, kind) for kind in space.fixed]
    each = [gene for kind in space.kinds for gene in every_gene(space, kind)]
    for length in range(space.minimum, space.maximum + 1):
        for genes in product(*front, *[each] * length):
            genome = Genome(genes)
            if space.contains(genome):
                yield genome


def every_gene(space: SearchSpace, kind: type[Gene]) -> list[Gene]:
    """Return all genes of a kind that a space allows."""
    domains = space.domains(kind)
    return [kind(**dict(zip(domains, values, strict=True))) for values in product(*map(every_value, domains.values()))]
