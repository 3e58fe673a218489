"""Genomes: the genetic encoding of a network as an ordered tuple of genes. Pure.

A genome holds first the genes that describe no layer (settings), then the layers. Each layer names the
layers that it reads by offsets, so blocks can be copied elsewhere; before the first layer come the
views (input images) of the problem. A `Cell` stands for layers that are repeated. Genomes that build the same network
are equal and have one key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Self

from menndl_dask.errors import GenomeError
from menndl_dask.genome.forms.canonical_form import ordered_joins, simplify
from menndl_dask.genome.forms.cell import expanded
from menndl_dask.genome.forms.folding import fold
from menndl_dask.genome.forms.label import label
from menndl_dask.genome.gene import Gene, is_users, kind_name
from menndl_dask.genome.layer import Layer, with_inputs
from menndl_dask.genome.topology import Sources, canonical_order, relative
from menndl_dask.genome.unknown_gene import UnknownGene, UnknownLayer
from menndl_dask.text import counted, html_summary
from menndl_dask.validation import shown


@dataclass(frozen=True, slots=True, eq=False)
class Genome:
    """A network's build instructions; equal when they build the same network.

    >>> from menndl_dask.genome.layers import Convolution, Dropout
    >>> first = Genome((Convolution(16), Convolution(32)))
    >>> first == Genome((Convolution(16), Dropout(0.0), Convolution(32)))
    True
    >>> Genome.from_dict(first.to_dict()) == first
    True
    """

    genes: tuple[Gene, ...]
    _expanded: tuple[tuple[Layer, ...], list[Sources]] | None = field(init=False, default=None, repr=False)
    _canonical: Genome | None = field(init=False, default=None, repr=False)
    _folded: Genome | None = field(init=False, default=None, repr=False)
    _key: str | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        genes = tuple(self.genes) if isinstance(self.genes, Iterable) else (self.genes,)
        for gene in genes:
            if not isinstance(gene, Gene):
                raise GenomeError(f"genome: expected genes, such as (Convolution(16), Pooling()), got {shown(gene)}")
        object.__setattr__(self, "genes", genes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genome) and self.key == other.key

    def __hash__(self) -> int:
        return int(self.key, 16)

    def __len__(self) -> int:
        return len(self.genes)

    def _repr_html_(self) -> str:
        genes = [(kind_name(type(gene)), _unusual(gene)) for gene in self.folded().genes]
        return html_summary(f"Genome {self.key}: {counted(len(self.layers), 'layer')}", genes)

    @property
    def settings(self) -> tuple[Gene, ...]:
        """The genes that are no layer."""
        return tuple(g for g in self.genes if not isinstance(g, Layer))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order, those of a `Cell` as often as it is repeated."""
        return self._without_cells()[0]

    @property
    def kinds_of_users(self) -> list[str]:
        """Names of the gene kinds that are not the package's own."""
        return sorted({kind_name(type(gene)) for gene in (*self.settings, *self.layers) if is_users(type(gene))})

    @property
    def unknown_kinds(self) -> list[str]:
        """Names of the gene kinds that this process has not imported, see `UnknownGene`."""
        genes = (*self.settings, *self.layers)
        return sorted({gene.name for gene in genes if isinstance(gene, (UnknownGene, UnknownLayer))})

    @property
    def sources(self) -> list[Sources]:
        """For each layer the indices of what it reads; ``-1 - v`` is the problem's view ``v``."""
        return list(self._without_cells()[1])

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits, the same for equal networks, in every process."""
        if self._key is None:
            text = json.dumps([label(g) for g in self.canonical().genes])
            object.__setattr__(self, "_key", blake2b(text.encode(), digest_size=8).hexdigest())
        assert self._key is not None
        return self._key

    def canonical(self) -> Genome:
        """Return the canonical form, without redundant layers; the genome itself if it has this form."""
        if self._canonical is None:
            result = self._ordered()[0]
            object.__setattr__(self, "_canonical", result)
            object.__setattr__(result, "_canonical", result)
        assert self._canonical is not None
        return self._canonical

    def folded(self) -> Genome:
        """Return the genome of the same network with a `Cell` for what is repeated; it depends only on the network."""
        if self._folded is None:
            agreed = self.canonical()
            found = fold(agreed.layers, agreed.sources)
            result = agreed if found is None else Genome((*agreed.settings, *found))
            for genome in (result, agreed, self):
                object.__setattr__(genome, "_canonical", agreed)
                object.__setattr__(genome, "_folded", result)
        assert self._folded is not None
        return self._folded

    def traced(self) -> tuple[Genome, list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return the canonical form, and how its layers come from those of this genome.

        Returns
        -------
        Genome
            The canonical form; the genome itself if it has this form.
        list of tuple of int
            For each layer of it the places of the layers of this genome that it does the work of.
        list of tuple of int
            For each layer of it the order in which this genome reads its inputs: places in `inputs`.
        """
        result, order, sources, given, origins = self._ordered()
        return result, [origins[old] for old in order], [tuple(map(sources[old].index, given[old])) for old in order]

    def _ordered(self) -> tuple[Genome, list[int], list[Sources], list[Sources], list[tuple[int, ...]]]:
        """Return the canonical form, and for its layers the order, what they read in both orders, and the origins."""
        layers, given, output, origins = simplify(*self._without_cells())
        labels = [label(with_inputs(layer, (1,))) for layer in layers]
        order, sources = canonical_order(labels, given, output, ordered_joins(layers, given))
        place = {old: new for new, old in enumerate(order)}
        moved = [tuple(place[s] if s >= 0 else s for s in sources[old]) for old in order]
        result = Genome.connect([layers[old] for old in order], moved, self.settings)
        if result.genes == self.genes:
            result = self
        return result, order, sources, given, origins

    @classmethod
    def connect(cls, layers: Sequence[Layer], sources: Sequence[Sources], settings: Iterable[Gene] = ()) -> Self:
        """Make a genome of layers and, for each, the indices of the layers (or ``-1 - v`` views) that it reads.

        Raises
        ------
        GenomeError
            If these are no layers, or not indices for each of them.
        """
        try:
            joined = [with_inputs(layer, node) for layer, node in zip(layers, relative(sources), strict=True)]
            genes = (*settings, *joined)
        except (AttributeError, TypeError, ValueError) as error:
            got = f"got {shown(layers)}, {shown(sources)} and the settings {shown(settings)}"
            raise GenomeError(f"connect: expected layers, and for each the indices of what it reads, {got}") from error
        return cls(genes)

    def to_dict(self) -> dict[str, Any]:
        """Return the genome as a plain dict that JSON and YAML can hold."""
        return {"genes": [gene.to_dict() for gene in self.genes]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a genome back.

        Raises
        ------
        GenomeError
            If it is not a genome, or a gene kind or field is unknown.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("genes"), list):
            raise GenomeError(f"expected a genome, a dict with a list under 'genes', got {shown(data)}")
        genome = cls(tuple(Gene.from_dict(gene) for gene in data["genes"]))
        genome._without_cells()  # a few lines may stand for too many layers
        return genome

    def _without_cells(self) -> tuple[tuple[Layer, ...], list[Sources]]:
        """Return the layers and what each of them reads."""
        if self._expanded is None:
            object.__setattr__(self, "_expanded", expanded(self.genes))
        assert self._expanded is not None
        return self._expanded


def _unusual(gene: Gene) -> str:
    """Return the fields of a gene that have another value than usual, as text."""
    values = ((each, getattr(gene, each.name)) for each in fields(gene))
    return ", ".join(f"{each.name} {value}" for each, value in values if value != each.default)
