"""The transposed convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import integer, per_axis, spread
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.keras_settings import expect, expect_image_layer, is_of, keras_class, rank_of, sizes
from menndl_dask.genome.layers.weighted import Weighted
from menndl_dask.genome.layers.window import image_size, window_area


@dataclass(frozen=True, slots=True)
class TransposedConvolution(Weighted):
    """A transposed convolution, which enlarges the image `stride` times."""

    drawn_title: ClassVar[str] = "Transposed conv."
    drawn_family: ClassVar[str] = "enlarging"

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, default=2)
    stride: tuple[int, ...] = per_axis(2, 3, 4)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the enlarged image, a channel for each kernel."""
        spatial = image_size(shape)
        return (*(n * s for n, s in zip(spatial, spread(self.stride, len(spatial)), strict=True)), self.kernels)

    def parameter_count(self, shape: Shape) -> int:
        """Count a weight for each kernel, channel and pixel under the kernel."""
        area = window_area(self.kernel_size, len(shape) - 1)
        return area * shape[-1] * self.kernels + self.end_parameters(self.kernels)

    def forward_flops(self, shape: Shape) -> float:
        """Count two FLOPs for each weight and pixel read: each pixel is multiplied into a window of the output."""
        area = window_area(self.kernel_size, len(shape) - 1)
        values = math.prod(self.output_shape(shape))
        return 2.0 * area * math.prod(shape) * self.kernels + self.end_flops(values)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``Conv2DTranspose``, or its like for another rank."""
        rank = rank_of(tensor)
        make = partial(
            keras_class("Conv", rank, "Transpose"),
            self.kernels,
            spread(self.kernel_size, rank),
            strides=spread(self.stride, rank),
            padding="same",
            kernel_initializer=self.initial_weights(seeds),
        )
        return self.build_end(make, tensor, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``Conv2DTranspose``, or its like for another rank."""
        if not is_of(layer, "Conv", suffix="Transpose"):
            return None
        expect_image_layer(layer)
        expect(layer, "padding", layer.padding == "same")
        expect(layer, "dilation_rate", sizes(layer.dilation_rate) == (1,))
        expect(layer, "output_padding", layer.output_padding is None)
        return cls(layer.filters, sizes(layer.kernel_size), sizes(layer.strides), **cls.read_end(layer))
