"""The normalisation by itself. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import expect, is_exactly
from menndl_dask.genome.layers.elementwise.activation import only_join

NORMALISATIONS = ("none", "batch", "layer", "instance", "group")
_MOST_GROUPS, _SMALLEST_GROUP = 8, 4  # groups of channels, channels of a group
_EPSILON = 1e-5  # added to the variance of an image's channel or group of channels; nnU-Net's value


@dataclass(frozen=True, slots=True)
class Normalisation(Layer):
    """Normalise over a batch, or each sample by itself.

    Parameters
    ----------
    method
        ``batch`` (each channel over the pixels of all samples of a batch), ``layer`` (each pixel over its channels),
        ``instance`` (each channel of a sample over its pixels), ``group`` (each group of channels of a sample over
        their pixels; Wu and He 2018, doi:10.1007/978-3-030-01261-8_1; see `group_count`) or ``none``.
    """

    channels: ClassVar[str] = "kept"

    method: str = choice("batch", "layer", "none", "instance", "group")

    def output_shape(self, shape: Shape) -> Shape:
        check_normalisation(self.method, shape)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return normalisation_parameters(self.method, shape[-1])

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return keras_normalisation(self.method, int(tensor.shape[-1]), name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "BatchNormalization", "LayerNormalization", "GroupNormalization"):
            return None
        last = len(layer.input.shape) - 1
        axes = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        expect(layer, "axis", axes in ([-1], [last]))
        expect(layer, "center", bool(layer.center))
        expect(layer, "scale", bool(layer.scale))
        if not is_exactly(layer, "GroupNormalization"):
            return cls("batch" if is_exactly(layer, "BatchNormalization") else "layer")
        channels = int(layer.input.shape[-1])
        expect(layer, "groups", layer.groups in (channels, group_count(channels)))
        return cls("instance" if layer.groups == channels else "group")

    @property
    def is_identity(self) -> bool:
        return self.method == "none"

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self

    @property
    def channel_role(self) -> str:
        return role_with(self.method, self.channels)

    def reads_whole_image(self, shape: Shape) -> bool:
        return self.method in ("instance", "group")

    def suited(self, shape: Shape) -> Layer:
        return self.replaced(method=possible_normalisation(self.method, shape))


def group_count(channels: int) -> int:
    """Return the number of groups of group normalisation: at most 8, of at least 4 channels each.

    >>> [group_count(channels) for channels in (4, 16, 24, 64, 7)]
    [1, 4, 6, 8, 1]
    """
    possible = range(2, min(_MOST_GROUPS, channels // _SMALLEST_GROUP) + 1)
    return max((n for n in possible if channels % n == 0), default=1)


def check_normalisation(method: str, shape: Shape) -> None:
    """Raise `InfeasibleError` if a normalisation would leave nothing of a tensor of this shape."""
    if method == "instance" and math.prod(shape[:-1]) == 1:
        raise InfeasibleError(f"instance normalisation: expected several pixels in each channel, got shape {shape}")
    if method == "group" and shape[-1] == 1:
        raise InfeasibleError(f"group normalisation: expected several channels, got shape {shape}")


def possible_normalisation(method: str, shape: Shape) -> str:
    """Return the normalisation, or one like it that is possible on a tensor of this shape."""
    pixels = math.prod(shape[:-1])
    if method == "instance" and pixels == 1:
        return "group" if shape[-1] > 1 else "none"
    if method == "group" and shape[-1] == 1:
        return "instance" if pixels > 1 else "none"
    return method


def role_with(method: str, role: str) -> str:
    """Return what becomes of the channels in a layer of that role whose output is normalised; see `Layer.channels`."""
    if method != "group":
        return role
    return "grouped" if role == "mixed" else "fixed"  # neighbours form groups


def normalisation_parameters(method: str, channels: int) -> int:
    """Return the weights of a normalisation: scale and offset, and for a batch the moving mean and variance."""
    return {"none": 0, "batch": 4}.get(method, 2) * channels


def keras_normalisation(method: str, channels: int, name: str) -> Any:
    """Return the Keras layer of a normalisation of so many channels."""
    import keras

    if method == "batch":
        # with the few steps of a short training a slow moving average would be far from the truth
        return keras.layers.BatchNormalization(momentum=0.9, name=name)
    if method == "layer":
        return keras.layers.LayerNormalization(axis=-1, name=name)
    groups = channels if method == "instance" else group_count(channels)
    return keras.layers.GroupNormalization(groups, epsilon=_EPSILON, name=name)
