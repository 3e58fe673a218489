"""The depthwise convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import choice, per_axis
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.common.bounds import SIZES, STRIDES, WIDTH
from menndl_dask.genome.layers.common.keras_settings import is_depthwise, is_of, rank_of
from menndl_dask.genome.layers.weighted import SlidingKernelByChannel


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(SlidingKernelByChannel):
    """A convolution of each channel by itself, with `multiplier` kernels for each.

    In 3-D it is a Keras convolution with a group for each channel, which is slow on a CPU: see the documentation.
    """

    channels: ClassVar[str] = "kept"
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    drawn_title: ClassVar[str] = "Depthwise conv."

    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, 7, 9, default=3, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, valid=STRIDES)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4, valid=SIZES)
    multiplier: int = choice(1, 2, 4, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) == 4 and shape[-1] == 1:
            raise InfeasibleError("expected a volume of several channels, got one: this is a Convolution")
        return self.ended((*self.spatial_after(shape), shape[-1] * self.multiplier))

    def weight_count(self, shape: Shape) -> int:
        return self.kernel_area(shape) * shape[-1] * self.multiplier

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        weights, channels = self.initial_weights(seeds), int(tensor.shape[-1])
        if rank_of(tensor) == 3:
            grouped = {"filters": channels * self.multiplier, "groups": channels, "kernel_initializer": weights}
            return self.build_kernels("Conv", tensor, name, **grouped)
        settings = {"depth_multiplier": self.multiplier, "depthwise_initializer": weights}
        return self.build_kernels("DepthwiseConv", tensor, name, **settings)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if is_depthwise(layer):
            return cls(multiplier=layer.filters // layer.groups, **cls.read_kernel(layer))
        if not is_of(layer, "DepthwiseConv"):
            return None
        return cls(multiplier=layer.depth_multiplier, **cls.read_kernel(layer))
