"""Mutation: changes of one genome at every scale, from a field's small step to the depth of a network. Pure.

A mutation is a function ``(genome, space, rng) -> Genome``. It returns the genome itself where it does not apply.
What it returns may break the space's rules; `SearchSpace.repair` mends that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from menndl_dask.evolution.genome_edit import Body, carried_over, mutable, width
from menndl_dask.genome.forms.cell import LONGEST_BODY, MOST_TIMES, Cell
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import JOINS, Layer
from menndl_dask.space.space import SearchSpace

Mutation = Callable[[Genome, SearchSpace, np.random.Generator], Genome]
REPEAT = "repeat"
_LONGEST_BLOCK, _LONGEST_CELL = 5, 6
_TRIALS = 10  # places that are looked at for genes that can be repeated
_OF_A_CELL = 0.6  # share of repetitions that change a cell, where there is one


def step(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Change one field of one gene by a small step."""
    return _field_changed(genome, space, rng, redraw=False)


def redraw(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Draw one field of one gene anew."""
    return _field_changed(genome, space, rng, redraw=True)


def replace(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Draw one gene anew; in the variable part its kind may change too."""
    place = int(rng.integers(len(genome)))
    old = genome.genes[place]
    kinds = space.kinds if place >= len(space.fixed) else (space.fixed[place],)
    gene = space.sample_gene(kinds[rng.integers(len(kinds))], rng)
    return Genome((*genome.genes[:place], carried_over(gene, old), *genome.genes[place + 1 :]))


def insert(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Put a new gene somewhere; three times in four one of a kind that the genome has already."""
    body = Body.of(genome, space)
    if not space.kinds or len(body.genes) >= space.maximum:
        return genome
    place = int(rng.integers(len(body.genes) + 1))
    if body.genes and rng.random() < 0.75:
        kind = _kind_of(body.genes[rng.integers(len(body.genes))], rng)
    else:
        kind = space.kinds[rng.integers(len(space.kinds))]
    return body.inserted(place, [space.sample_gene(kind, rng)]).genome()


def remove(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Take a gene out."""
    body = Body.of(genome, space)
    if len(body.genes) <= max(space.minimum, 1):
        return genome
    return body.removed(int(rng.integers(len(body.genes)))).genome()


def duplicate(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Put a copy of a gene right after it."""
    body = Body.of(genome, space)
    if not body.genes or len(body.genes) >= space.maximum:
        return genome
    place = int(rng.integers(len(body.genes)))
    return body.inserted(place + 1, [body.genes[place]]).genome()


def copy_block(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Copy up to five neighbouring genes, with the connections among them, to another place."""
    body = Body.of(genome, space)
    room = min(space.maximum - len(body.genes), len(body.genes), _LONGEST_BLOCK)
    if room < 2:
        return genome
    size = int(rng.integers(2, room + 1))
    start = int(rng.integers(len(body.genes) - size + 1))
    block, sources = body.cut(start, start + size)
    return body.inserted(int(rng.integers(len(body.genes) + 1)), block, sources).genome()


def swap(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Exchange two neighbouring genes of the variable part; each reads what the other read."""
    cut = len(space.fixed)
    if len(genome) - cut < 2:
        return genome
    place = cut + int(rng.integers(len(genome) - cut - 1))
    first, second = genome.genes[place : place + 2]
    pair = (carried_over(second, first), carried_over(first, second))
    return Genome((*genome.genes[:place], *pair, *genome.genes[place + 2 :]))


def connect(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Let a layer read one more earlier layer."""
    body = Body.of(genome, space)
    if body.sources is None or len(body.genes) < 2:
        return genome
    place = int(rng.integers(1, len(body.genes)))
    reads = body.sources[place]
    others = [s for s in range(place) if s not in reads]
    if not others:
        return genome
    source = others[rng.integers(len(others))]
    join = JOINS[rng.integers(2)] if len(reads) == 1 else None
    return body.with_sources(place, (*reads, source), join).genome()


def disconnect(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Let a layer that joins several read one less."""
    body = Body.of(genome, space)
    joining = [i for i, node in enumerate(body.sources or ()) if len(node) > 1]
    if not joining or body.sources is None:
        return genome
    place = joining[rng.integers(len(joining))]
    reads = body.sources[place]
    lost = int(rng.integers(len(reads)))
    return body.with_sources(place, reads[:lost] + reads[lost + 1 :]).genome()


def bypass(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Add what one to three layers read to what they give: a residual connection around them."""
    body = Body.of(genome, space)
    if body.sources is None or len(body.genes) < 3:
        return genome
    end = int(rng.integers(2, len(body.genes)))
    start = max(0, end - int(rng.integers(1, 4)))
    source = body.sources[start][0]
    reads = body.sources[end]
    if source in reads:
        return genome
    return body.with_sources(end, (*reads, source), "add").genome()


def scale_width(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Make all layers wider or narrower, by up to a factor of two."""
    factor = 2.0 ** ((1 if rng.random() < 0.5 else -1) * rng.uniform(0.3, 1.0))
    start = int(rng.integers(len(genome))) if rng.random() < 0.5 else 0
    scaled = (_scaled(g, space, factor) if i >= start else g for i, g in enumerate(genome.genes))
    return Genome(tuple(scaled))


def scale_depth(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Double, or take out, about a third of the genes."""
    body = Body.of(genome, space)
    grow = rng.random() < 0.5
    for place in reversed(range(len(body.genes))):
        if rng.random() > 1 / 3:
            continue
        if grow and len(body.genes) < space.maximum:
            body = body.inserted(place + 1, [body.genes[place]])
        elif not grow and len(body.genes) > max(space.minimum, 1):
            body = body.removed(place)
    return body.genome()


def repeat(genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Repeat one to six neighbouring genes once, as a cell; or a cell once more or less."""
    body = Body.of(genome, space)
    cells = [i for i, gene in enumerate(body.genes) if isinstance(gene, Cell)]
    if cells and rng.random() < _OF_A_CELL:
        place = cells[rng.integers(len(cells))]
        cell = cast(Cell, body.genes[place])
        times = cell.times + (1 if rng.random() < 0.5 or cell.times == 1 else -1)
        if times > MOST_TIMES:
            return genome
        if times == 1:
            return body.once(place).genome()
        return body.with_gene(len(body.front) + place, cell.replaced(times=times)).genome()
    for _ in range(_TRIALS if body.genes else 0):
        start = int(rng.integers(len(body.genes)))
        stop = start + int(rng.integers(1, _LONGEST_CELL + 1))
        if stop <= len(body.genes) and body.can_repeat(start, stop):
            return body.repeated(start, stop).genome()
    return genome


def in_a_cell(mutation: Mutation, genome: Genome, space: SearchSpace, rng: np.random.Generator) -> Genome:
    """Mutate the body of a cell as if it were a network, and so all its repetitions alike."""
    cells = [i for i, gene in enumerate(genome.genes) if isinstance(gene, Cell)]
    place, cut = cells[rng.integers(len(cells))], len(space.fixed)
    cell = cast(Cell, genome.genes[place])
    mutated = mutation(Genome((*genome.genes[:cut], *cell.opened())), space, rng).genes
    body = mutated[cut:]
    if not 1 <= len(body) <= LONGEST_BODY:
        return genome
    return Genome((*mutated[:cut], *genome.genes[cut:place], cell.replaced(body=body), *genome.genes[place + 1 :]))


_SHAPE: dict[str, tuple[Mutation, float]] = {
    "insert": (insert, 1.0),
    "remove": (remove, 1.0),
    "duplicate": (duplicate, 0.5),
    "copy_block": (copy_block, 0.3),
    "swap": (swap, 0.3),
    "scale_depth": (scale_depth, 0.2),
}
_GRAPH: dict[str, tuple[Mutation, float]] = {
    "connect": (connect, 0.4),
    "disconnect": (disconnect, 0.3),
    "bypass": (bypass, 0.4),
}


def mutations(space: SearchSpace) -> dict[str, tuple[Mutation, float]]:
    """Return the mutations that make sense in a space, by name, each with its weight before anything is known."""
    kinds = [*space.fixed, *space.kinds]
    several = any(len(mutable(space, kind)) > 1 for kind in kinds)
    found: dict[str, tuple[Mutation, float]] = {"step": (step, 2.0)} if kinds else {}
    if several:
        found["redraw"] = (redraw, 1.0)
    found["replace"] = (replace, 1.0)
    if any(width(space, kind) for kind in kinds):
        found["scale_width"] = (scale_width, 0.4)
    if space.kinds and space.maximum > 1:
        found |= _SHAPE
        if any(issubclass(kind, Layer) for kind in space.kinds):
            found |= _GRAPH
        if space.rules is not None:
            found[REPEAT] = (repeat, 0.3)
    return found


def _field_changed(genome: Genome, space: SearchSpace, rng: np.random.Generator, *, redraw: bool) -> Genome:
    for _ in range(4):  # a gene without fields to change is passed over
        place = int(rng.integers(len(genome)))
        changed = _gene_changed(genome.genes[place], space, rng, redraw=redraw)
        if changed is not None:
            return Genome((*genome.genes[:place], changed, *genome.genes[place + 1 :]))
    return genome


def _gene_changed(gene: Gene, space: SearchSpace, rng: np.random.Generator, *, redraw: bool) -> Gene | None:
    """Change one field of a gene, or of a layer of a cell; None if it has no field to change."""
    if isinstance(gene, Cell):
        place = int(rng.integers(len(gene.body)))
        changed = _gene_changed(gene.body[place], space, rng, redraw=redraw)
        return changed and gene.replaced(body=(*gene.body[:place], changed, *gene.body[place + 1 :]))
    options = mutable(space, type(gene))
    if not options:
        return None
    kind, name = type(gene), options[rng.integers(len(options))][0]
    old = getattr(gene, name)
    value = space.sample_value(kind, name, rng) if redraw else space.step_value(kind, name, old, rng)
    return gene.replaced(**{name: value})


def _kind_of(gene: Gene, rng: np.random.Generator) -> type[Gene]:
    """Return the kind of a gene, or of a layer of a cell."""
    return type(gene.body[rng.integers(len(gene.body))] if isinstance(gene, Cell) else gene)


def _scaled(gene: Gene, space: SearchSpace, factor: float) -> Gene:
    if isinstance(gene, Cell):
        return gene.replaced(body=tuple(_scaled(layer, space, factor) for layer in gene.body))
    found = width(space, type(gene))
    if found is None:
        return gene
    name, domain = found
    return gene.replaced(**{name: domain.nearest(cast(int, getattr(gene, name)) * factor)})
