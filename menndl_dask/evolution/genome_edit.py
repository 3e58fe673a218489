"""The body of a genome, opened for editing: its fixed genes, its variable part, and what each layer there reads. Pure.

Where the variable part is made of layers, editing keeps what the other layers read; elsewhere it is a plain sequence.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, cast

from menndl_dask.genome.domain import Domain, Integer
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Activation
from menndl_dask.genome.topology import Sources, absolute, relative
from menndl_dask.space import image_rules
from menndl_dask.space.space import SearchSpace


@dataclass(frozen=True, slots=True)
class Body:
    """A genome's parts. Editing returns a new body.

    Parameters
    ----------
    front
        The fixed genes.
    genes
        The variable part.
    sources
        For each of `genes` the indices of what it reads (negative: before the first); None if they are no layers.
    """

    front: tuple[Gene, ...]
    genes: tuple[Gene, ...]
    sources: tuple[Sources, ...] | None

    @classmethod
    def of(cls, genome: Genome, space: SearchSpace) -> Self:
        """Open a genome of a space."""
        cut = len(space.fixed)
        genes = genome.genes[cut:]
        graph = bool(genes) and all(isinstance(g, Layer) for g in genes)
        sources = tuple(absolute([cast(Layer, g).inputs for g in genes])) if graph else None
        return cls(genome.genes[:cut], genes, sources)

    def genome(self) -> Genome:
        """Close the body again."""
        if self.sources is None:
            return Genome((*self.front, *self.genes))
        offsets = relative(self.sources)
        pairs = zip(cast(tuple[Layer, ...], self.genes), offsets, strict=True)
        return Genome((*self.front, *(g if g.inputs == o else g.replaced(inputs=o) for g, o in pairs)))

    def removed(self, place: int) -> Body:
        """Take a gene out; what read it reads what it read first."""
        if self.sources is None:
            return Body(self.front, self.genes[:place] + self.genes[place + 1 :], None)
        layers, sources = image_rules.remove(self._layers(), self.sources, place)
        return Body(self.front, tuple(layers), tuple(sources))

    def inserted(self, place: int, block: Sequence[Gene], sources: Sequence[Sources] | None = None) -> Body:
        """Put genes before the one at `place`, which reads the last of them in the stead of its first source.

        Parameters
        ----------
        place
            From 0 to the number of genes.
        block
            The genes.
        sources
            What each of the block reads within the block; what is not in the block (negative) becomes what
            the gene at `place` read first. A chain by default.
        """
        genes = (*self.genes[:place], *block, *self.genes[place:])
        if self.sources is None:
            return Body(self.front, genes, None)
        size = len(block)
        inner = sources if sources is not None else [(i - 1,) for i in range(size)]
        shifted = [tuple(s + size if s >= place else s for s in node) for node in self.sources]
        entry = shifted[place][0] if place < len(self.genes) else place - 1
        put = [tuple(dict.fromkeys(s + place if s >= 0 else entry for s in node)) for node in inner]
        after = shifted[place:]
        if after:
            after[0] = tuple(dict.fromkeys((place + size - 1, *after[0][1:])))
        return Body(self.front, genes, (*shifted[:place], *put, *after))

    def cut(self, start: int, stop: int) -> tuple[tuple[Gene, ...], list[Sources] | None]:
        """Copy the genes from `start` to before `stop`, and what they read: indices within, or -1 for outside."""
        block = self.genes[start:stop]
        if self.sources is None:
            return block, None
        inner = [tuple(dict.fromkeys(max(-1, s - start) for s in node)) for node in self.sources[start:stop]]
        return block, inner

    def can_repeat(self, start: int, stop: int) -> bool:
        """Tell whether the genes from `start` to before `stop` can be a cell.

        They are layers, but no cells, which read one layer that is not among them, and only their last one is read by
        others.
        """
        if self.sources is None or any(isinstance(gene, Cell) for gene in self.genes[start:stop]):
            return False
        entries = {s for node in self.sources[start:stop] for s in node if s < start}
        return len(entries) == 1 and all(s >= stop - 1 or s < start for node in self.sources[stop:] for s in node)

    def repeated(self, start: int, stop: int) -> Body:
        """Put a cell in the place of genes that can be one, which repeats them once."""
        assert self.sources is not None
        inner = [tuple(max(-1, s - start) for s in node) for node in self.sources[start:stop]]
        block = zip(cast(tuple[Layer, ...], self.genes[start:stop]), relative(inner), strict=True)
        cell = Cell(body=tuple(layer.replaced(inputs=offsets) for layer, offsets in block), times=2)
        entry = next(s for node in self.sources[start:stop] for s in node if s < start)
        moved = [tuple(s if s < start else s - (stop - start - 1) for s in node) for node in self.sources[stop:]]
        genes = (*self.genes[:start], cell, *self.genes[stop:])
        return Body(self.front, genes, (*self.sources[:start], (entry,), *moved))

    def once(self, place: int) -> Body:
        """Put the layers of a cell in its place, once."""
        assert self.sources is not None
        cell, node = cast(Cell, self.genes[place]), self.sources[place]
        joins = [Activation("linear", join=cell.join)] if len(node) > 1 else []
        first = place + len(joins)
        entry = place if joins else node[0]
        inner = [tuple(s + first if s >= 0 else entry for s in read) for read in cell.sources()]
        more = len(joins) + len(cell.body) - 1
        moved = [tuple(s + more if s >= place else s for s in read) for read in self.sources[place + 1 :]]
        genes = (*self.genes[:place], *joins, *cell.body, *self.genes[place + 1 :])
        return Body(self.front, genes, (*self.sources[:place], *([node] if joins else []), *inner, *moved))

    def with_gene(self, place: int, gene: Gene) -> Body:
        """Exchange one gene, the fixed ones counted first."""
        cut = len(self.front)
        if place < cut:
            return Body((*self.front[:place], gene, *self.front[place + 1 :]), self.genes, self.sources)
        place -= cut
        return Body(self.front, (*self.genes[:place], gene, *self.genes[place + 1 :]), self.sources)

    def with_sources(self, place: int, sources: Sources, join: str | None = None) -> Body:
        """Change what one layer reads, and how it joins it."""
        assert self.sources is not None
        layer = cast(Layer, self.genes[place])
        if layer.join == "subtract" and len(sources) > 2:  # only one tensor is subtracted from another
            join = join or "add"
        changed = layer if join is None else layer.replaced(join=join)
        genes = (*self.genes[:place], changed, *self.genes[place + 1 :])
        return Body(self.front, genes, (*self.sources[:place], sources, *self.sources[place + 1 :]))

    def _layers(self) -> tuple[Layer, ...]:
        return cast(tuple[Layer, ...], self.genes)


def mutable(space: SearchSpace, kind: type[Gene]) -> tuple[tuple[str, Domain], ...]:
    """Return the fields of a gene kind that can take more than one value, with their domains."""
    return _mutable(space, cast(Hashable, kind))


def width(space: SearchSpace, kind: type[Gene]) -> tuple[str, Integer] | None:
    """Return the field that says how wide a layer is: its first integer that is spaced evenly in ratio."""
    return next(((n, d) for n, d in mutable(space, kind) if isinstance(d, Integer) and d.log), None)


def carried_over(gene: Gene, old: Gene) -> Gene:
    """Return the gene reading what the old one read, where both are layers."""
    if isinstance(gene, Layer) and isinstance(old, Layer):
        return gene.replaced(inputs=old.inputs, join=old.join)
    return gene


@lru_cache(maxsize=1024)
def _mutable(space: SearchSpace, kind: Hashable) -> tuple[tuple[str, Domain], ...]:
    domains = space.domains(cast(type[Gene], kind))
    return tuple((name, domain) for name, domain in domains.items() if domain.size > 1)
