"""The depthwise convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice, per_axis
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.keras_settings import is_of, keras_class, rank_of
from menndl_dask.genome.layers.weighted import SlidingKernelByChannel


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(SlidingKernelByChannel):
    """A convolution of each channel by itself, with `multiplier` kernels for each. 1-D and 2-D images."""

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Depthwise conv."

    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)
    multiplier: int = choice(1, 2, 4)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the image after the kernels, `multiplier` channels for each one read."""
        return (*self.spatial_after(shape), shape[-1] * self.multiplier)

    def parameter_count(self, shape: Shape) -> int:
        """Count a weight for each kernel and pixel under the kernel."""
        channels = shape[-1] * self.multiplier
        return self.kernel_area(shape) * channels + self.end_parameters(channels)

    def forward_flops(self, shape: Shape) -> float:
        """Count two FLOPs for each weight and place of the kernels."""
        values = math.prod(self.output_shape(shape))
        return 2.0 * self.kernel_area(shape) * values + self.end_flops(values)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``DepthwiseConv2D`` or ``DepthwiseConv1D``."""
        rank = rank_of(tensor)
        make = partial(
            keras_class("DepthwiseConv", rank),
            depth_multiplier=self.multiplier,
            depthwise_initializer=self.initial_weights(seeds),
            **self.keras_kernel(rank),
        )
        return self.build_end(make, tensor, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``DepthwiseConv2D`` or ``DepthwiseConv1D``."""
        if not is_of(layer, "DepthwiseConv"):
            return None
        return cls(multiplier=layer.depth_multiplier, **cls.read_kernel(layer))
