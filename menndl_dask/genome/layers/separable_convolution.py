"""The separable convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice, integer, per_axis
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.keras_settings import is_of, keras_class, rank_of
from menndl_dask.genome.layers.weighted import SlidingKernelByChannel


@dataclass(frozen=True, slots=True)
class SeparableConvolution(SlidingKernelByChannel):
    """A depthwise convolution and then a convolution of single pixels with `kernels` kernels. 1-D and 2-D images."""

    drawn_title: ClassVar[str] = "Separable conv."

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)
    multiplier: int = choice(1, 2, 4)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the image after the kernels, a channel for each kernel of single pixels."""
        return (*self.spatial_after(shape), self.kernels)

    def parameter_count(self, shape: Shape) -> int:
        """Count the weights of both convolutions."""
        channels = shape[-1] * self.multiplier
        return channels * (self.kernel_area(shape) + self.kernels) + self.end_parameters(self.kernels)

    def forward_flops(self, shape: Shape) -> float:
        """Count two FLOPs for each weight of both convolutions and place of the kernels."""
        after = self.output_shape(shape)
        channels, pixels = shape[-1] * self.multiplier, math.prod(after[:-1])
        return 2.0 * pixels * channels * (self.kernel_area(shape) + self.kernels) + self.end_flops(math.prod(after))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``SeparableConv2D`` or ``SeparableConv1D``."""
        rank = rank_of(tensor)
        make = partial(
            keras_class("SeparableConv", rank),
            self.kernels,
            depth_multiplier=self.multiplier,
            depthwise_initializer=self.initial_weights(seeds),
            pointwise_initializer=self.initial_weights(seeds),
            **self.keras_kernel(rank),
        )
        return self.build_end(make, tensor, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``SeparableConv2D`` or ``SeparableConv1D``."""
        if not is_of(layer, "SeparableConv"):
            return None
        return cls(layer.filters, multiplier=layer.depth_multiplier, **cls.read_kernel(layer))
