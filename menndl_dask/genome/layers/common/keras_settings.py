"""Helpers of the gene kinds that build and read Keras layers. Runs anywhere: its functions import Keras."""

from __future__ import annotations

from typing import Any

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import compact
from menndl_dask.genome.layer import Shape


def rank_of(tensor: Any) -> int:
    """Return the number of spatial axes of a Keras tensor; 0 for features."""
    return len(tensor.shape) - 2


def keras_class(stem: str, rank: int, suffix: str = "") -> Any:
    """Return the Keras layer class of that name for images of so many axes, such as ``Conv2D``."""
    import keras

    return getattr(keras.layers, f"{stem}{rank}D{suffix}")


def is_of(layer: Any, stem: str, suffix: str = "") -> bool:
    """Tell whether a Keras layer is of such a class, for images of any rank; a subclass is not."""
    return is_exactly(layer, *(f"{stem}{rank}D{suffix}" for rank in (1, 2, 3)))


def is_exactly(layer: Any, *names: str) -> bool:
    """Tell whether a Keras layer is of one of Keras's classes of these names; a subclass does something else."""
    import keras

    return any(type(layer) is getattr(keras.layers, name, None) for name in names)


def is_depthwise(layer: Any) -> bool:
    """Tell whether a Keras layer is a depthwise convolution in 3-D: a convolution with a group for each channel."""
    return is_exactly(layer, "Conv3D") and layer.groups > 1 and layer.groups == int(layer.input.shape[-1])


def unsupported(layer: Any, why: str) -> GenomeError:
    """Return the error for a Keras layer without a gene."""
    return GenomeError(f"layer {layer.name!r} ({type(layer).__name__}): {why}")


def expect(layer: Any, setting: str, holds: bool) -> None:
    """Raise the error for a Keras layer with a setting that genes do not know, unless the setting `holds`."""
    if not holds:
        raise unsupported(layer, f"{setting}={getattr(layer, setting)!r} has no gene")


def expect_image_layer(layer: Any) -> None:
    """Refuse a Keras layer of images with channels first, or with a padding that genes do not know."""
    expect(layer, "data_format", getattr(layer, "data_format", "channels_last") == "channels_last")
    expect(layer, "padding", getattr(layer, "padding", "same") in ("same", "valid"))


def function_name(layer: Any) -> str:
    """Return the name of the activation function of a Keras layer."""
    import keras

    name = keras.activations.serialize(layer.activation)
    if not isinstance(name, str):
        raise unsupported(layer, f"activation={name!r} has no gene")
    return name


def sizes(value: Any) -> Shape:
    """Return a size of a Keras layer, one for each axis, as genes have it."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return compact(tuple(int(v) for v in given))
