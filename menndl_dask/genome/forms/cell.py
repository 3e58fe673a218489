"""Cells: layers that are repeated one after the other, as one gene. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import integer
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.layer import FARTHEST, Layer, with_inputs
from menndl_dask.genome.layers import Activation
from menndl_dask.genome.topology import Sources, absolute, relative
from menndl_dask.validation import shown

LONGEST_BODY = 100  # layers of a cell
MOST_TIMES = 100  # that a cell is repeated
MOST_LAYERS = FARTHEST  # of a network, all repetitions counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Layer):
    """Layers that are repeated: each repetition reads what the one before it gives.

    A cell stands for the layers of all repetitions. It has no rules of its own: `Genome.layers` and everything that is
    computed from them (shapes, cost, key, the Keras model) show the network without cells.

    Parameters
    ----------
    body
        The layers that are repeated, 1 to 100; no cells. Their `inputs` count within the body; an offset beyond the
        first layer of the body means what the repetition reads. The last layer of the body is its output.
    times
        Number of repetitions, 1 to 100. With 1 the cell is a block, which is bred as a whole.

    Raises
    ------
    GenomeError
        If the body is not made of so many layers, or the number is outside of its bounds.

    >>> from menndl_dask import Genome
    >>> from menndl_dask.genome.layers import Activation, Convolution
    >>> residual = (Convolution(16), Convolution(16), Activation("relu", inputs=(1, 3), join="add"))
    >>> len(Genome((Convolution(16), Cell(body=residual, times=8))).layers)
    25
    """

    drawn_title: ClassVar[str] = "Cell"

    body: tuple[Layer, ...]
    times: int = integer(1, MOST_TIMES)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        given: object = self.body
        if not isinstance(given, tuple) or not 1 <= len(given) <= LONGEST_BODY:
            got = f"{len(given)} of them" if isinstance(given, tuple) else shown(given)
            raise GenomeError(f"Cell: body: expected 1 to {LONGEST_BODY} layers, got {got}")
        object.__setattr__(self, "body", tuple(_read(layer, i) for i, layer in enumerate(given)))

    @property
    def size(self) -> int:
        """Number of layers of all repetitions, and one that joins what the cell reads."""
        return self.times * len(self.body) + 1

    def sources(self) -> list[Sources]:
        """Return for each layer of the body the places in it of what it reads; -1 is what the repetition reads."""
        return [tuple(dict.fromkeys(max(-1, s) for s in node)) for node in absolute([g.inputs for g in self.body])]

    def opened(self) -> tuple[Layer, ...]:
        """Return the layers of the body as those of a network whose only view is what the repetition reads."""
        offsets = relative(self.sources())
        return tuple(with_inputs(layer, node) for layer, node in zip(self.body, offsets, strict=True))


def _read(layer: object, place: int) -> Layer:
    """Return a layer of a body, read from a plain dict if it is one."""
    try:
        if isinstance(layer, Mapping) and layer.get("kind") != "Cell":
            return Layer.from_dict(layer)
        if isinstance(layer, Layer) and not isinstance(layer, Cell):
            return layer
        raise GenomeError(f"expected a layer that is no cell, got {shown(layer)}")
    except GenomeError as error:
        raise GenomeError(f"Cell: body: layer {place}: {error}") from error


def size_of(genes: Sequence[Gene]) -> int:
    """Return the number of genes with all repetitions."""
    return sum(gene.size if isinstance(gene, Cell) else 1 for gene in genes)


def expanded(genes: Sequence[Gene]) -> tuple[tuple[Layer, ...], list[Sources]]:
    """Return the layers of genes without cells, and for each of them the indices of what it reads.

    Raises
    ------
    GenomeError
        If these are too many layers.
    """
    given = tuple(gene for gene in genes if isinstance(gene, Layer))
    sources = absolute([layer.inputs for layer in given])
    if not any(isinstance(layer, Cell) for layer in given):
        return given, sources
    if (count := size_of(given)) > MOST_LAYERS:
        raise GenomeError(f"genome: expected at most {MOST_LAYERS:,} layers with all repetitions, got {count:,}")
    layers: list[Layer] = []
    found: list[Sources] = []
    places: list[int] = []  # of the last layer of each gene
    for layer, node in zip(given, sources, strict=True):
        read = tuple(places[s] if s >= 0 else s for s in node)
        _add(layer, read, layers, found)
        places.append(len(layers) - 1)
    offsets = [tuple(i - s for s in node) for i, node in enumerate(found)]
    return tuple(with_inputs(layer, node) for layer, node in zip(layers, offsets, strict=True)), found


def _add(layer: Layer, read: Sources, layers: list[Layer], found: list[Sources]) -> None:
    """Add a layer that reads layers already added; a cell with all its repetitions."""
    if not isinstance(layer, Cell):
        layers.append(layer)
        found.append(read)
        return
    if len(read) > 1:  # one tensor for all that reads it; the canonical form leaves the layer out where it can
        layers.append(Activation("linear", join=layer.join))
        found.append(read)
    entry = read[0] if len(read) == 1 else len(layers) - 1
    inner = layer.sources()
    for _ in range(layer.times):
        start = len(layers)
        layers += layer.body
        found += [tuple(s + start if s >= 0 else entry for s in node) for node in inner]
        entry = len(layers) - 1
