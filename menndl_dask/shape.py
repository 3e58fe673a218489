"""Shapes: what each layer of a network gives, computed from its genome without Keras. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, singledispatch

from menndl_dask import layers as genes
from menndl_dask.domain import spread
from menndl_dask.errors import InfeasibleError
from menndl_dask.genome import Genome, Layer
from menndl_dask.topology import Sources

Shape = tuple[int, ...]  # (*spatial, channels) of an image, or (features,)


def shapes(genome: Genome, input_shapes: Sequence[Shape]) -> list[Shape]:
    """Return the output shape of each layer of a genome as it is given.

    Raises
    ------
    InfeasibleError
        If a layer cannot read what it names; the message says which and why.
    """
    return [after for _, _, _, after in walk(genome, input_shapes)]


def walk(genome: Genome, views: Sequence[Shape]) -> Iterator[tuple[Layer, Sources, Shape, Shape]]:
    """Yield each layer with what it reads, the shape that reaches it and the one that it gives.

    Raises
    ------
    InfeasibleError
        As `shapes` does.
    """
    found: list[Shape] = []
    for i, (layer, sources) in enumerate(zip(genome.layers, genome.sources, strict=True)):
        try:
            before = joined_shape(layer, [_of(s, found, views) for s in sources])
            found.append(_shape_after(layer, before))
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


@singledispatch
def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape after a layer; one rule for each gene kind, a method of a kind of the user's own.

    Raises
    ------
    InfeasibleError
        If the layer cannot read a tensor of this shape.
    """
    return tuple(layer.output_shape(shape))


def _of(source: int, found: Sequence[Shape], views: Sequence[Shape]) -> Shape:
    if source < 0:
        view = -1 - source
        if view >= len(views):
            raise InfeasibleError(f"expected an input among {len(views)} views and the layers before, got view {view}")
        return views[view]
    return found[source]


# evolution costs hundreds of networks for each that is evaluated, and they share most of their layers
@lru_cache(maxsize=4096)
def _shape_after(layer: Layer, before: Shape) -> Shape:
    return output_shape(layer, before)


def _spatial(shape: Shape, layer: Layer) -> Shape:
    rank = len(shape) - 1
    if rank < 1:
        raise InfeasibleError(f"expected an image, got {shape[0]} features")
    ranks = getattr(type(layer), "ranks", (1, 2, 3))
    if rank not in ranks:
        raise InfeasibleError(f"exists for images of {' or '.join(map(str, ranks))} axes, got {rank}")
    return shape[:-1]


def _windowed(spatial: Shape, window: Shape, stride: Shape, dilation: Shape, padding: str) -> Shape:
    """Return the sizes after a window has moved over an image."""
    rank = len(spatial)
    axes = zip(spatial, *(spread(v, rank) for v in (window, stride, dilation)), strict=True)
    if padding == "same":
        return tuple(-(-n // s) for n, _, s, _ in axes)
    after = []
    for n, k, s, d in axes:
        reach = (k - 1) * d + 1
        if reach > n:
            raise InfeasibleError(f"expected a window that fits into {n} pixels, got one of {reach}")
        after.append((n - reach) // s + 1)
    return tuple(after)


def _strided(layer: genes.Convolution | genes.DepthwiseConvolution | genes.SeparableConvolution, shape: Shape) -> Shape:
    spatial = _spatial(shape, layer)
    if max(layer.stride) > 1 and max(layer.dilation) > 1:
        raise InfeasibleError("a stride and a dilation larger than 1 exclude each other")
    return _windowed(spatial, layer.kernel_size, layer.stride, layer.dilation, layer.padding)


def _equally_strided(layer: genes.DepthwiseConvolution | genes.SeparableConvolution, shape: Shape) -> Shape:
    if len(set(spread(layer.stride, len(_spatial(shape, layer))))) > 1:
        raise InfeasibleError(f"expected the same stride on all axes, got {layer.stride}")
    return _strided(layer, shape)


@output_shape.register
def _(layer: genes.Convolution, shape: Shape) -> Shape:
    return (*_strided(layer, shape), layer.kernels)


@output_shape.register
def _(layer: genes.DepthwiseConvolution, shape: Shape) -> Shape:
    return (*_equally_strided(layer, shape), shape[-1] * layer.multiplier)


@output_shape.register
def _(layer: genes.SeparableConvolution, shape: Shape) -> Shape:
    return (*_equally_strided(layer, shape), layer.kernels)


@output_shape.register
def _(layer: genes.TransposedConvolution, shape: Shape) -> Shape:
    spatial = _spatial(shape, layer)
    strides = spread(layer.stride, len(spatial))
    return (*(n * s for n, s in zip(spatial, strides, strict=True)), layer.kernels)


@output_shape.register
def _(layer: genes.Pooling, shape: Shape) -> Shape:
    spatial = _spatial(shape, layer)
    return (*_windowed(spatial, layer.size, layer.stride, (1,), layer.padding), shape[-1])


@output_shape.register
def _(layer: genes.GlobalPooling, shape: Shape) -> Shape:
    _spatial(shape, layer)
    return shape[-1:]


@output_shape.register
def _(layer: genes.Upsampling, shape: Shape) -> Shape:
    spatial = _spatial(shape, layer)
    if layer.interpolation != "nearest" and len(spatial) != 2:
        raise InfeasibleError(f"{layer.interpolation} interpolation exists for 2-D images, got {len(spatial)} axes")
    return (*(n * s for n, s in zip(spatial, spread(layer.size, len(spatial)), strict=True)), shape[-1])


@output_shape.register
def _(layer: genes.FullyConnected, shape: Shape) -> Shape:
    return (layer.units,)


@output_shape.register
def _(layer: genes.Flatten, shape: Shape) -> Shape:
    return (math.prod(shape),)


@output_shape.register(genes.Dropout)
@output_shape.register(genes.Normalisation)
@output_shape.register(genes.Activation)
def _(layer: Layer, shape: Shape) -> Shape:
    return shape
