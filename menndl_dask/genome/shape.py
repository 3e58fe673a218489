"""Shapes: the output shape of each layer of a network, computed from its genome without Keras. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.genome.topology import Sources

_MOST_VALUES = 2**50  # more than fit into any memory; their products are still ordinary numbers
_SURPLUS, _LEAST_CROPPED = 1, 4  # pixels that are cropped along an axis, and that are left at least


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
            if math.prod(found[-1]) > _MOST_VALUES:
                raise InfeasibleError(f"expected a tensor of at most {_MOST_VALUES:,} values, got {found[-1]}")
        except (InfeasibleError, ValueError) as error:
            raise InfeasibleError(f"layer {i} ({type(layer).__name__}): {error}") from error
        yield layer, sources, before, found[-1]


def joined_shape(layer: Layer, given: Sequence[Shape]) -> Shape:
    """Return the shape of a layer's inputs, joined, those that are one pixel larger cropped; see `common_size`.

    Raises
    ------
    InfeasibleError
        If they cannot be joined.
    """
    first = given[0]
    if len(given) == 1:
        return first
    size = first[:-1] if all(shape[:-1] == first[:-1] for shape in given) else common_size(given, layer.join)
    if layer.join == "concatenate":
        if size is None:
            raise InfeasibleError(f"expected equal sizes to concatenate, got {', '.join(map(str, given))}")
        return (*size, sum(shape[-1] for shape in given))
    channels = {shape[-1] for shape in given} - {1} or {1}
    if size is None or len(channels) > 1:
        raise InfeasibleError(f"expected equal shapes to {layer.join}, got {', '.join(map(str, given))}")
    return (*size, *channels)


def common_size(given: Sequence[Shape], join: str = "concatenate") -> Shape | None:
    """Return the pixels along each axis to which tensors of these shapes are cropped when they are joined.

    An odd number of pixels is one more after it was halved and doubled. So tensors may be one pixel larger than the
    smallest one, which has at least four; their last pixel along the axis is then left out. Where tensors are joined
    value by value, those with one pixel along an axis are as if repeated along it, as in Keras.

    Parameters
    ----------
    given
        The shapes.
    join
        How they are joined, see `Layer`.

    Returns
    -------
    tuple of int or None
        None if the sizes differ by more.

    >>> common_size([(21, 13, 8), (22, 14, 4)]), common_size([(21, 13, 8), (23, 13, 4)])
    ((21, 13), None)
    >>> common_size([(21, 13, 8), (1, 1, 8)], "multiply")
    (21, 13)
    """
    if len({len(shape) for shape in given}) > 1:
        return None
    found = []
    for sizes in zip(*(shape[:-1] for shape in given), strict=True):
        if join != "concatenate":
            sizes = tuple(n for n in sizes if n > 1) or (1,)
        least, most = min(sizes), max(sizes)
        if most > least and (most > least + _SURPLUS or least < _LEAST_CROPPED):
            return None
        found.append(least)
    return tuple(found)


def _of(source: int, found: Sequence[Shape], views: Sequence[Shape]) -> Shape:
    if source < 0:
        view = -1 - source
        if view >= len(views):
            raise InfeasibleError(f"expected an input among {len(views)} views and the layers before, got view {view}")
        return views[view]
    return found[source]
