"""Crossover: offspring of two parents. Pure.

A crossover is a function ``(first, second, space, rng) -> Genome``. Parents may differ in length. Layers keep what
they read as far as it comes along, so that whole blocks with their skip connections are handed down. What it
returns may break the space's rules; `SearchSpace.repair` mends that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from menndl_dask.evolution.genome_edit import Body, carried_over, mutable
from menndl_dask.genome.domain import Domain
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.space.space import SearchSpace

Crossover = Callable[[Genome, Genome, SearchSpace, np.random.Generator], Genome]


def uniform(first: Genome, second: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Take each gene from either parent; variable parts are aligned from the front, from the end or by share."""
    body, other = Body.of(first, space), Body.of(second, space)
    share = rng.uniform(0.2, 0.8)
    front = tuple(b if rng.random() < share else a for a, b in zip(body.front, other.front, strict=True))
    genes = list(body.genes)
    for i, j in aligned(len(genes), len(other.genes), rng):
        if rng.random() < share:
            genes[i] = carried_over(other.genes[j], genes[i])
    return Body(front, tuple(genes), body.sources).genome()


def blend(first: Genome, second: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Mix the fields of aligned genes of the same kind: each field from either parent."""
    cut = len(space.fixed)
    genes = list(first.genes)
    pairs = [(i, i) for i in range(cut)]
    pairs += [(cut + i, cut + j) for i, j in aligned(len(first) - cut, len(second) - cut, rng)]
    share = rng.uniform(0.2, 0.8)
    for i, j in pairs:
        if type(genes[i]) is type(second.genes[j]):
            genes[i] = _mixed(genes[i], second.genes[j], mutable(space, type(genes[i])), share, rng)
    return Genome(tuple(genes))


def splice(first: Genome, second: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Join the front of one parent to the end of the other, cut at about the same share of their lengths.

    Cuts that few connections cross are preferred, so that blocks stay whole.
    """
    body, other = Body.of(first, space), Body.of(second, space)
    n, m = len(body.genes), len(other.genes)
    if min(n, m) < 2:
        return first
    head = _cut_point(body, rng.uniform(0.0, 1.0), rng)
    tail = _cut_point(other, head / n + rng.normal(0.0, 0.15), rng)
    if not space.minimum <= head + m - tail <= space.maximum:
        tail = min(max(m - (space.maximum - head), 1), m)
    genes = (*body.genes[:head], *other.genes[tail:])
    front = body.front if rng.random() < 0.5 else other.front
    if body.sources is None or other.sources is None:
        return Body(front, genes, None).genome()
    moved = [tuple(dict.fromkeys(_moved(s, head, tail) for s in node)) for node in other.sources[tail:]]
    return Body(front, genes, (*body.sources[:head], *moved)).genome()


def transplant(first: Genome, second: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Put a block of up to six genes of the second parent, its connections kept, in the place of one of the first."""
    body, other = Body.of(first, space), Body.of(second, space)
    n, m = len(body.genes), len(other.genes)
    if min(n, m) < 2:
        return first
    size = int(rng.integers(1, min(6, m, space.maximum - 1) + 1))
    start = int(rng.integers(m - size + 1))
    block, sources = other.cut(start, start + size)
    needed = max(0, n + size - space.maximum)
    place = min(n - needed, max(0, round(start / m * n + rng.normal(0.0, 1.5))))
    taken = max(needed, int(rng.integers(0, size + 2)))
    for _ in range(min(taken, n - place, n - 1)):
        body = body.removed(place)
    return body.inserted(place, block, sources).genome()


def crossovers(space: SearchSpace) -> dict[str, tuple[Crossover, float]]:
    """Return the crossovers that make sense in a space, by name, each with its weight before anything is known."""
    found: dict[str, tuple[Crossover, float]] = {}
    if len(space.fixed) > 1 or space.kinds:
        found["uniform"] = (uniform, 1.0)
    if any(len(mutable(space, kind)) > 1 for kind in (*space.fixed, *space.kinds)):
        found["blend"] = (blend, 0.7)
    if space.kinds and space.maximum > 1:
        found["splice"] = (splice, 1.0)
        found["transplant"] = (transplant, 0.6)
    return found


def aligned(first: int, second: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pair the places of two sequences: from the front, from the end, or by their share of the length."""
    if not first or not second:
        return []
    way = int(rng.integers(3))
    if first == second or way == 0:
        return [(i, i) for i in range(min(first, second))]
    if way == 1:
        return [(first - 1 - i, second - 1 - i) for i in range(min(first, second))]
    return [(i, round(i * (second - 1) / max(1, first - 1))) for i in range(first)]


def _mixed(
    gene: Gene, other: Gene, fields: tuple[tuple[str, Domain], ...], share: float, rng: np.random.Generator
) -> Gene:
    taken = {name: getattr(other, name) for name, _ in fields if rng.random() < share}
    return gene.replaced(**taken) if taken else gene


def _cut_point(body: Body, share: float, rng: np.random.Generator) -> int:
    """Return a place from 1 to one less than the length, near the wanted share, that few connections cross."""
    n = len(body.genes)
    wanted = min(max(share, 0.0), 1.0) * n
    best, lowest = 1, np.inf
    for place in range(1, n):
        crossed = sum(s < place - 1 for node in (body.sources or ())[place:] for s in node)
        cost = abs(place - wanted) + 1.5 * crossed + rng.uniform(0.0, 1.0)
        if cost < lowest:
            best, lowest = place, cost
    return best


def _moved(source: int, head: int, tail: int) -> int:
    """Return where a source of the second parent is now; what was left behind is the front's last layer."""
    if source >= tail:
        return source - tail + head
    if source < 0:
        return source
    return max(0, head - (tail - source))
