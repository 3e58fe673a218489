"""Genomes: the genetic encoding of a network as an ordered tuple of genes. Pure.

A genome holds first the genes that describe no layer (settings), then the layers. Each layer names the
layers that it reads by offsets, so blocks can be cut out and put elsewhere; what precedes the first layer
are the views (input images) of the problem. Genomes that build the same network are equal and have one key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any, ClassVar, Self

from menndl_dask.domain import PerAxis, compact
from menndl_dask.errors import GenomeError
from menndl_dask.gene import Gene, is_users, kind_name
from menndl_dask.topology import Sources, absolute, canonical_order, consumers, live, order_matters, relative

JOINS = ("concatenate", "add")
RULES = ("output_shape", "parameter_count", "forward_flops", "build", "read")  # methods of a user's own kind of layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Gene):
    """Base of the genes that are a layer of a network: adds where its input comes from.

    The package's own kinds have their rules (shape, parameters, FLOPs, Keras layer there and back) in `shape`, `cost`,
    `decoder` and `encoder`. A kind of the user's own brings them along, as the five methods named in `RULES`.

    Parameters
    ----------
    inputs
        Offsets of the layers that are read: 1 is the neighbour before, 2 the one before that; offsets that
        reach past the first layer name the problem's views, the first view first.
    join
        How several inputs become one: ``concatenate`` along the channels, or ``add`` (of equal shapes).
    """

    channels: ClassVar[str] = "fixed"  # see `topology.order_matters`; the layer of which nothing is known

    inputs: tuple[int, ...] = (1,)
    join: str = "concatenate"

    def __post_init__(self) -> None:
        offsets = self.inputs if isinstance(self.inputs, tuple) else ()
        if not offsets or any(not isinstance(d, int) or d < 1 for d in offsets):
            raise GenomeError(f"{type(self).__name__}: inputs: expected offsets ≥ 1, got {self.inputs!r}")
        if self.join not in JOINS:
            raise GenomeError(f"{type(self).__name__}: join: expected one of {JOINS}, got {self.join!r}")

    @property
    def is_identity(self) -> bool:
        """Whether the layer hands on what it reads, unchanged."""
        return False

    def at_end(self) -> Layer:
        """Return what is left of the layer where it is the last one, before the head of the network."""
        return self

    def is_undone_by(self, following: Layer) -> bool:
        """Tell whether a layer that reads only this one makes it redundant."""
        return False

    def absorb(self, following: Layer) -> Layer | None:
        """Return one layer that does what this one and the following one do, or nothing."""
        return None

    def simplified(self) -> Layer:
        """Return the layer with fields that make no difference set to one agreed value."""
        domains = self.domains()
        changes: dict[str, Any] = {
            name: compact(getattr(self, name)) for name, domain in domains.items() if isinstance(domain, PerAxis)
        }
        return replace(self, **changes) if changes else self

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape (``(*spatial, channels)`` or ``(features,)``) after the layer; rule of a user's own kind.

        Raises
        ------
        InfeasibleError
            If the layer cannot read a tensor of this shape.
        """
        raise self._without("shape")

    def parameter_count(self, shape: tuple[int, ...]) -> int:
        """Return the number of weights of the layer where it reads this shape; rule of a user's own kind."""
        raise self._without("parameters")

    def forward_flops(self, shape: tuple[int, ...]) -> float:
        """Return the FLOPs of one forward pass over a tensor of this shape; rule of a user's own kind."""
        raise self._without("FLOPs")

    def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
        """Return what one Keras layer of this name makes of a tensor; rule of a user's own kind.

        It imports Keras itself, so that the driver, which needs the other rules, does without. `seeds` returns the next
        seed for something random.
        """
        raise self._without("Keras layer")

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Return the gene of a Keras layer, or nothing if the layer is not of this kind; rule of a user's own kind."""
        return None

    def _without(self, rule: str) -> GenomeError:
        return GenomeError(f"gene kind {type(self).__name__} has no rule for its {rule}")


@dataclass(frozen=True, slots=True, eq=False)
class Genome:
    """A network's build instructions; equal when they build the same network.

    >>> from menndl_dask.layers import Convolution, Dropout
    >>> first = Genome((Convolution(16), Convolution(32)))
    >>> first == Genome((Convolution(16), Dropout(0.0), Convolution(32)))
    True
    >>> Genome.from_dict(first.to_dict()) == first
    True
    """

    genes: tuple[Gene, ...]
    _canonical: Genome | None = field(init=False, default=None, repr=False)
    _key: str | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "genes", tuple(self.genes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genome) and self.key == other.key

    def __hash__(self) -> int:
        return int(self.key, 16)

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def settings(self) -> tuple[Gene, ...]:
        """The genes that are no layer."""
        return tuple(g for g in self.genes if not isinstance(g, Layer))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in order."""
        return tuple(g for g in self.genes if isinstance(g, Layer))

    @property
    def sources(self) -> list[Sources]:
        """For each layer the indices of what it reads; ``-1 - v`` is the problem's view ``v``."""
        return absolute([layer.inputs for layer in self.layers])

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits, the same for equal networks, in every process."""
        if self._key is None:
            text = json.dumps([_label(g) for g in self.canonical().genes])
            object.__setattr__(self, "_key", blake2b(text.encode(), digest_size=8).hexdigest())
        assert self._key is not None
        return self._key

    def canonical(self) -> Genome:
        """Return the agreed form of this network: nothing redundant in it, layers in an agreed order."""
        if self._canonical is None:
            layers, sources, output = _simplify(self.layers, self.sources)
            labels = [_label(_reading(layer, (1,))) for layer in layers]
            adds = [len(node) > 1 and layer.join == "add" for layer, node in zip(layers, sources, strict=True)]
            ordered = order_matters(sources, adds, [layer.channels for layer in layers])
            order, sources = canonical_order(labels, sources, output, ordered)
            place = {old: new for new, old in enumerate(order)}
            moved = [tuple(place[s] if s >= 0 else s for s in sources[old]) for old in order]
            result = Genome.connect([layers[old] for old in order], moved, self.settings)
            if result.genes == self.genes:
                result = self  # so that whoever asks can tell that there was nothing to agree on
            object.__setattr__(self, "_canonical", result)
            object.__setattr__(result, "_canonical", result)
        assert self._canonical is not None
        return self._canonical

    @classmethod
    def connect(
        cls, layers: Sequence[Layer], sources: Sequence[Sources], settings: Iterable[Gene] = ()
    ) -> Self:
        """Make a genome of layers and, for each, the indices of the layers (or ``-1 - v`` views) that it reads."""
        offsets = relative(sources)
        joined = [_reading(layer, node) for layer, node in zip(layers, offsets, strict=True)]
        return cls((*settings, *joined))

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
            raise GenomeError(f"expected a genome, a dict with a list under 'genes', got {data!r}")
        return cls(tuple(Gene.from_dict(gene) for gene in data["genes"]))


@lru_cache(maxsize=8192)  # layers are shared by most of a population, and making one costs more than finding it
def _reading(layer: Layer, inputs: Sources) -> Layer:
    if layer.inputs == inputs:
        return layer
    if (names := _plain_fields(type(layer))) is None:  # type: ignore[arg-type]  # as in `Gene.domains`
        return replace(layer, inputs=inputs)
    twin = object.__new__(type(layer))  # `replace` takes five times as long, and checks again what was checked
    for name in names:
        object.__setattr__(twin, name, getattr(layer, name))
    object.__setattr__(twin, "inputs", inputs)
    return twin


@cache
def _plain_fields(kind: type[Layer]) -> tuple[str, ...] | None:
    """Return the fields of a kind whose layers consist of them; nothing where it makes something of them itself."""
    return tuple(f.name for f in fields(kind)) if kind.__post_init__ is Layer.__post_init__ else None


@lru_cache(maxsize=4096)
def _label(gene: Gene) -> str:
    values = {f.name: getattr(gene, f.name) for f in fields(gene)}
    # the module that our kinds were in when the first runs were written: every key ever stored depends on it
    kind = kind_name(type(gene)) if is_users(type(gene)) else f"menndl_dask.layer:{kind_name(type(gene))}"
    return f"{kind}{sorted(values.items())!r}"


@lru_cache(maxsize=4096)
def _simplified(layer: Layer) -> Layer:
    return _reading(layer, (1,)).simplified()


def _simplify(
    layers: tuple[Layer, ...], sources: list[Sources]
) -> tuple[list[Layer], list[Sources], int]:
    """Drop what makes no difference until nothing more can be dropped."""
    kept = list(layers)
    output = len(kept) - 1
    while True:
        kept = [_simplified(layer) for layer in kept]
        sources = [tuple(dict.fromkeys(node)) for node in sources]
        kept = [
            n if len(s) > 1 or n.join == JOINS[0] else replace(n, join=JOINS[0])
            for n, s in zip(kept, sources, strict=True)
        ]
        kept, sources, output = _without_dead(kept, sources, output)
        if output >= 0:
            kept[output] = kept[output].at_end()
        dropped = _redundant(kept, sources, output)
        if dropped is None:
            return kept, sources, output
        node, changed = dropped
        for reader, (layer, read) in changed.items():
            kept[reader], sources[reader] = layer, read
        if not changed:
            source = sources[node][0]
            sources = [tuple(source if s == node else s for s in each) for each in sources]
            output = source if output == node else output


def _without_dead(
    layers: list[Layer], sources: list[Sources], output: int
) -> tuple[list[Layer], list[Sources], int]:
    alive = live(sources, output)
    if all(alive):
        return layers, sources, output
    kept = [i for i, a in enumerate(alive) if a]
    place = {old: new for new, old in enumerate(kept)}
    moved = [tuple(place[s] if s >= 0 else s for s in sources[i]) for i in kept]
    return [layers[i] for i in kept], moved, place.get(output, output)


def _redundant(
    layers: list[Layer], sources: list[Sources], output: int
) -> tuple[int, dict[int, tuple[Layer, Sources]]] | None:
    """Find a layer to drop, and what its readers become and read then; if none changes, they read its only source."""
    readers = consumers(sources)
    for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
        # a network that reads a further view and has no layers needs one to say so
        if len(node) == 1 and layer.is_identity and not (i == output and node[0] < -1):
            return i, {}
    for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
        if i == output:
            continue
        if any(len(sources[r]) > 1 for r in readers[i]):
            if spliced := _spliced(i, layers, sources, readers[i]):
                return i, spliced
            continue
        if layer.is_identity or (len(node) == 1 and all(layer.is_undone_by(layers[r]) for r in readers[i])):
            return i, {r: (replace(layers[r], join=layer.join), node) for r in readers[i]}
        merged = layer.absorb(layers[readers[i][0]]) if len(readers[i]) == 1 else None
        if merged is not None:
            return i, {readers[i][0]: (replace(merged, join=layer.join), node)}
    return None


def _spliced(
    i: int, layers: list[Layer], sources: list[Sources], readers: list[int]
) -> dict[int, tuple[Layer, Sources]] | None:
    """Put the sources of a bare join in its place where its only reader joins alike: a sum of sums is one sum."""
    r, node = readers[0], sources[i]
    alike = len(readers) == 1 and layers[i].is_identity and layers[i].join == layers[r].join
    if not alike or set(node) & set(sources[r]):
        return None
    place = sources[r].index(i)
    return {r: (layers[r], (*sources[r][:place], *node, *sources[r][place + 1 :]))}
