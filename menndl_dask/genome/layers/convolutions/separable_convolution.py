"""The separable convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice, integer, per_axis
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.common.bounds import SIZES, STRIDES, WIDTH
from menndl_dask.genome.layers.common.keras_settings import is_of
from menndl_dask.genome.layers.weighted import SlidingKernelByChannel


@dataclass(frozen=True, slots=True)
class SeparableConvolution(SlidingKernelByChannel):
    """A depthwise convolution and then a convolution of single pixels with `kernels` kernels. 1-D and 2-D images."""

    drawn_title: ClassVar[str] = "Separable conv."

    kernels: int = integer(4, 256, log=True, default=32, valid=WIDTH)
    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, 7, 9, default=3, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, valid=STRIDES)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4, valid=SIZES)
    multiplier: int = choice(1, 2, 4, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        return self.ended((*self.spatial_after(shape), self.kernels))

    def weight_count(self, shape: Shape) -> int:
        return shape[-1] * self.multiplier * (self.kernel_area(shape) + self.kernels)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return self.build_kernels(
            "SeparableConv",
            tensor,
            name,
            filters=self.kernels,
            depth_multiplier=self.multiplier,
            depthwise_initializer=self.initial_weights(seeds),
            pointwise_initializer=self.initial_weights(seeds),
        )

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, "SeparableConv"):
            return None
        return cls(layer.filters, multiplier=layer.depth_multiplier, **cls.read_kernel(layer))
