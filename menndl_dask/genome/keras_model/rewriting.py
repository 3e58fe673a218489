"""Keras layers for which others do the same that have genes. Runs wherever Keras is.

A layer within `TimeDistributed` reads each part of a sequence: an image of one axis more, along which its kernel has
one pixel. An `EinsumDense` that multiplies whole axes with weights is a `Dense` between two reshapes.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    is_exactly,
    is_of,
    keras_class,
    unsupported,
)

Shape = tuple[int | None, ...]
_WINDOWS = ("kernel_size", "strides", "dilation_rate", "pool_size", "size")  # settings for each axis
_KEPT = ("filters", "padding", "groups", "activation", "use_bias")  # of the other settings
_OF_EACH_PART = (  # which read each value or pixel by itself
    "Dense", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Dropout", "GaussianNoise", "GaussianDropout",
    "BatchNormalization", "LayerNormalization", "RMSNormalization", "Rescaling", "Identity",
    "Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Concatenate",
)  # fmt: skip


def as_dense(layer: Any, before: Shape, after: Shape) -> list[Any] | None:
    """Return the layers that do what an `EinsumDense` from one shape to another does; None if there are none.

    Its weights are those of the `Dense` among them, in another shape.
    """
    read, _, written = layer.equation.partition("->")
    read, _, kernel = read.partition(",")
    new = "".join(axis for axis in kernel if axis not in read)
    given = kernel.removesuffix(new)
    kept = read.removesuffix(given)
    whole = (kept + given, given + new, kept + new) == (read, kernel, written) and not set(kept) & set(kernel)
    if not (new and given and whole) or (layer.bias_axes and sorted(layer.bias_axes) != sorted(new)):
        return None
    units, rest = math.prod(int(n or 0) for n in after[-len(new) :]), before[: -len(given)]
    layers = [keras.layers.Dense(units, use_bias=bool(layer.bias_axes))]
    if len(given) > 1:
        layers.insert(0, keras.layers.Reshape((*rest, math.prod(int(n or 0) for n in before[-len(given) :]))))
    if len(new) > 1:
        layers.append(keras.layers.Reshape((*rest, *after[-len(new) :])))
    return (
        layers if layer.activation is keras.activations.linear else [*layers, keras.layers.Activation(layer.activation)]
    )


def over_time(layer: Any, shape: Shape) -> list[Any]:
    """Return the layers that do with each part of a sequence of this shape what a layer does with one of them.

    Raises
    ------
    GenomeError
        If there are none; the message names the layer.
    """
    expect(layer, "data_format", getattr(layer, "data_format", "channels_last") == "channels_last")
    rank, config = len(shape) - 2, layer.get_config()  # of the parts
    spatial = tuple(int(n or 0) for n in shape[1:-1])
    for stem, of_whole in (("AveragePooling", "GlobalAveragePooling"), ("MaxPooling", "GlobalMaxPooling")):
        if is_of(layer, of_whole):
            after = (shape[0], *(1,) * rank * layer.keepdims, shape[-1])
            return [keras_class(stem, rank + 1)((1, *spatial)), keras.layers.Reshape(after)]
    if is_exactly(layer, "Flatten", "Reshape"):
        after = layer.compute_output_shape((None, *shape[1:]))[1:]
        return [keras.layers.Reshape((shape[0], *after))]
    if is_exactly(layer, *_OF_EACH_PART) and config.get("noise_shape") is None:
        if isinstance(config.get("axis"), int) and config["axis"] > 0:
            config["axis"] += 1
        return [type(layer).from_config(config)]
    stem = type(layer).__name__.removesuffix(f"{rank}D")
    if not is_of(layer, stem) or rank not in (1, 2) or config.get("padding") == "causal":
        raise unsupported(layer, "there is no gene that applies it to each part of a sequence")
    if stem in ("ZeroPadding", "Cropping"):
        name = "padding" if stem == "ZeroPadding" else "cropping"
        width = [list(each) for each in np.reshape(getattr(layer, name), (rank, 2)).tolist()]
        return [keras_class(stem, rank + 1)([[0, 0], *width])]
    given = {name: (1, *np.broadcast_to(config[name], rank).tolist()) for name in _WINDOWS if name in config}
    config = {name: value for name, value in config.items() if name in _KEPT}
    if stem == "DepthwiseConv":  # a convolution with a group for each channel
        channels = int(shape[-1] or 0)
        return [keras_class("Conv", rank + 1)(channels * layer.depth_multiplier, groups=channels, **config, **given)]
    return [keras_class(stem, rank + 1)(**config, **given)]
