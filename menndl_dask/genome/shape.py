"""Shapes: the output shape of each layer of a network, computed from its genome without Keras. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.genome.topology import Sources


def walk(genome: Genome, views: Sequence[Shape]) -> Iterator[tuple[Layer, Sources, Shape, Shape]]:
    """Yield each layer with its sources, input shape (of all inputs, joined) and output shape.

    Raises
    ------
    InfeasibleError
        If a layer cannot read what it names; the message says which and why.
    """
    found: list[Shape] = []
    for i, (layer, sources) in enumerate(zip(genome.layers, genome.sources, strict=True)):
        try:
            before = joined_shape(layer, [_of(s, found, views) for s in sources])
            found.append(tuple(layer.output_shape(before)))
        except (InfeasibleError, ValueError) as error:
            raise InfeasibleError(f"layer {i} ({type(layer).__name__}): {error}") from error
        yield layer, sources, before, found[-1]


def joined_shape(layer: Layer, given: Sequence[Shape]) -> Shape:
    """Return the shape of a layer's inputs, joined.

    Raises
    ------
    InfeasibleError
        If they cannot be joined.
    """
    first = given[0]
    if len(given) == 1:
        return first
    if layer.join == "add":
        if any(shape != first for shape in given):
            raise InfeasibleError(f"expected equal shapes to add, got {', '.join(map(str, given))}")
        return first
    if any(shape[:-1] != first[:-1] for shape in given):
        raise InfeasibleError(f"expected equal sizes to concatenate, got {', '.join(map(str, given))}")
    return (*first[:-1], sum(shape[-1] for shape in given))


def _of(source: int, found: Sequence[Shape], views: Sequence[Shape]) -> Shape:
    if source < 0:
        view = -1 - source
        if view >= len(views):
            raise InfeasibleError(f"expected an input among {len(views)} views and the layers before, got view {view}")
        return views[view]
    return found[source]
