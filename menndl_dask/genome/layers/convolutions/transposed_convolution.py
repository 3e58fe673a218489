"""The transposed convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import integer, per_axis, spread
from menndl_dask.genome.layer import Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import SIZES, STRIDES, WIDTH
from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    expect_image_layer,
    is_of,
    keras_class,
    rank_of,
    sizes,
)
from menndl_dask.genome.layers.common.window import image_size, window_area
from menndl_dask.genome.layers.weighted import Weighted


@dataclass(frozen=True, slots=True)
class TransposedConvolution(Weighted):
    """A transposed convolution, which enlarges the image `stride` times."""

    drawn_title: ClassVar[str] = "Transposed conv."
    drawn_family: ClassVar[str] = "enlarging"

    kernels: int = integer(4, 256, log=True, default=32, valid=WIDTH)
    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, default=2, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2, valid=STRIDES)

    def output_shape(self, shape: Shape) -> Shape:
        spatial = image_size(shape)
        enlarged = (n * s for n, s in zip(spatial, spread(self.stride, len(spatial)), strict=True))
        return self.ended((*enlarged, self.kernels))

    def weight_count(self, shape: Shape) -> int:
        return window_area(self.kernel_size, len(shape) - 1) * shape[-1] * self.kernels

    def forward_flops(self, shape: Shape) -> float:
        # each pixel that is read, not written, is multiplied with all weights
        return 2.0 * self.weight_count(shape) * math.prod(shape[:-1]) + self.end_flops(self.output_shape(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        rank = rank_of(tensor)
        return self.build_weighted(
            keras_class("Conv", rank, "Transpose"),
            tensor,
            name,
            filters=self.kernels,
            kernel_size=spread(self.kernel_size, rank),
            strides=spread(self.stride, rank),
            padding="same",
            kernel_initializer=self.initial_weights(seeds),
        )

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, "Conv", "Transpose"):
            return None
        expect_image_layer(layer)
        expect(layer, "padding", layer.padding == "same")
        expect(layer, "dilation_rate", sizes(layer.dilation_rate) == (1,))
        expect(layer, "output_padding", layer.output_padding is None)
        return cls(layer.filters, sizes(layer.kernel_size), sizes(layer.strides), **cls.read_end(layer))

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        rank = len(spatial)
        found = []
        for k, s in zip(spread(self.kernel_size, rank), spread(self.stride, rank), strict=True):
            padded = max(0, k - s) // 2
            # where the kernels are smaller than the stride, some pixels read none: as if they read the one before
            found.append(Window(parts=s, first=min(padded, padded - k + s), last=padded))
        return tuple(found)
