"""The convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, choice, integer, per_axis
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import SIZES, STRIDES, WIDTH
from menndl_dask.genome.layers.common.keras_settings import (
    expect_plain_weights,
    is_depthwise,
    is_exactly,
    is_of,
    rank_of,
)
from menndl_dask.genome.layers.elementwise.normalisation import role_with
from menndl_dask.genome.layers.weighted import SlidingKernel, Weighted


@dataclass(frozen=True, slots=True)
class Convolution(SlidingKernel):
    """A convolution: number of kernels, their size, stride, padding and dilation.

    With `groups`, channels and kernels are divided into so many groups, and each group of kernels reads one group of
    channels. On a CPU this takes longer than one group: see the figures in the documentation.

    The padding ``causal`` is for 1-D images, such as signals: a pixel depends on none after it.

    In Keras: ``Conv1D``, ``Conv2D``, ``Conv3D``. ``Dense`` on an image or a sequence is read as one with kernels of one
    pixel, which is the same function of the same weights.
    """

    kernels: int = integer(4, 256, log=True, default=32, valid=WIDTH)
    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, 7, 9, default=3, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, valid=STRIDES)
    padding: str = choice("same", "valid", valid=Choice(("same", "valid", "causal")))
    dilation: tuple[int, ...] = per_axis(1, 2, 4, valid=SIZES)
    groups: int = choice(1, 2, 4, 8, later=True, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        if self.groups > 1:
            _check_groups(self.groups, shape, self.kernels)
        return self.ended((*self.spatial_after(shape), self.kernels))

    def weight_count(self, shape: Shape) -> int:
        return self.kernel_area(shape) * shape[-1] // self.groups * self.kernels

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        weights = self.initial_weights(seeds)
        settings = {"filters": self.kernels, "groups": self.groups, "kernel_initializer": weights}
        return self.build_kernels("Conv", tensor, name, **settings)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if is_exactly(layer, "Dense") and rank_of(layer.input) in cls.ranks:  # of each pixel
            expect_plain_weights(layer)
            return cls(layer.units, (1,), **cls.read_end(layer))
        if not is_of(layer, "Conv") or is_depthwise(layer):
            return None
        return cls(layer.filters, groups=layer.groups, **cls.read_kernel(layer))

    def simplified(self) -> Layer:
        simple = Layer.simplified(self)
        return simple.replaced(padding="same", dilation=(1,)) if set(self.kernel_size) == {1} else simple

    @property
    def channel_role(self) -> str:
        return "fixed" if self.groups > 1 else role_with(self.normalisation, self.channels)

    def suited(self, shape: Shape) -> Layer:
        groups = math.gcd(self.groups, shape[-1], self.kernels)
        if _is_by_channel(groups, shape):
            groups = 1
        return Weighted.suited(self.replaced(groups=groups), shape)


def _check_groups(groups: int, shape: Shape, kernels: int) -> None:
    if shape[-1] % groups or kernels % groups:
        raise InfeasibleError(f"expected channels and kernels in {groups} groups, got {shape[-1]} and {kernels}")
    if _is_by_channel(groups, shape):
        raise InfeasibleError(f"{groups} groups of a volume of {groups} channels are a DepthwiseConvolution")


def _is_by_channel(groups: int, shape: Shape) -> bool:
    """Tell whether Keras has this convolution as its depthwise one, which it is in 3-D."""
    return groups > 1 and len(shape) == 4 and groups == shape[-1]
