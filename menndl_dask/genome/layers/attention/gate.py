"""Gates: an image is multiplied with numbers from 0 to 1 that are computed from it. Runs anywhere, Keras loads late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import keras_class, rank_of
from menndl_dask.genome.layers.common.window import image_size

_RATIOS = (2, 4, 8, 16)  # the usual ones: several ratios may give the same number of kernels


def squeezed(shape: Shape, ratio: int) -> int:
    """Return the number of kernels between an image and its gate.

    Raises
    ------
    InfeasibleError
        If the shape is not that of an image, has fewer channels than `ratio`, or another ratio is written for so many
        kernels.
    """
    image_size(shape)
    if shape[-1] < ratio:
        raise InfeasibleError(f"expected at least {ratio} channels, got {shape[-1]}")
    kernels = shape[-1] // ratio
    if (usual := usual_ratio(shape[-1], kernels)) != ratio:
        raise InfeasibleError(f"a ratio of {ratio} of {shape[-1]} channels is written as {usual}")
    return kernels


def usual_ratio(channels: int, kernels: int) -> int | None:
    """Return the ratio that is written for so many kernels of a gate; None if there is none."""
    rounded = channels // kernels if 0 < kernels <= channels else 1
    return next((ratio for ratio in (*_RATIOS, rounded) if channels // ratio == kernels), None)


def suited_ratio(ratio: int, channels: int, ratios: Sequence[int]) -> int:
    """Return the ratio, or one of the same number of kernels, or the largest one of `ratios` that is possible."""
    if ratio <= channels:
        return usual_ratio(channels, channels // ratio) or ratio
    possible = [each for each in ratios if each <= channels]
    return possible[-1] if possible else ratio


def keras_gated(tensor: Any, start: Any, kernels: int, outputs: int, name: str, seeds: Seeds) -> Any:
    """Multiply a Keras tensor with a gate: two convolutions of single pixels that read `start`."""
    import keras

    kind = keras_class("Conv", rank_of(tensor))
    first, second = keras.initializers.HeNormal(seed=seeds()), keras.initializers.GlorotUniform(seed=seeds())
    gate = kind(kernels, 1, activation="relu", kernel_initializer=first, name=f"{name}_squeeze")(start)
    gate = kind(outputs, 1, activation="sigmoid", kernel_initializer=second, name=f"{name}_gate")(gate)
    return keras.layers.Multiply(name=name)([gate, tensor])
