"""The transposed convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, Integer, Maybe, Several, compact, integer, per_axis, setting, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
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
    """A transposed convolution, which enlarges the image `stride` times.

    In Keras: ``Conv1DTranspose``, ``Conv2DTranspose``, ``Conv3DTranspose``.

    Parameters
    ----------
    kernels, kernel_size, stride
        As of a convolution from the output to the input.
    padding
        ``same``, or ``valid``: pixels at the border that only some kernels reach are kept.
    more
        Pixels that are added at the end of each axis, Keras's ``output_padding``. None: as many as fit the stride.
    """

    drawn_title: ClassVar[str] = "Transposed conv."
    drawn_family: ClassVar[str] = "enlarging"

    kernels: int = integer(4, 256, log=True, default=32, valid=WIDTH)
    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, default=2, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2, valid=STRIDES)
    padding: str = setting(Choice(("same", "valid")), "same", later=True)
    more: tuple[int, ...] | None = setting(Maybe(Several(Integer(0, 63))), None, later=True)

    def output_shape(self, shape: Shape) -> Shape:
        return self.ended((*self._enlarged(image_size(shape)), self.kernels))

    def _enlarged(self, spatial: Shape) -> Shape:
        """Return the sizes after the layer."""
        rank, found = len(spatial), []
        more = (None,) * rank if self.more is None else spread(self.more, rank)
        for n, k, s, m in zip(spatial, spread(self.kernel_size, rank), spread(self.stride, rank), more, strict=True):
            least = k if self.padding == "valid" else k % 2  # pixels of one kernel that are kept
            most = max(k, s) if self.padding == "valid" else s
            end = most if m is None else least + m
            if m is not None and (m >= s or not end >= 1 or (self.padding == "same" and end > s)):
                raise InfeasibleError(f"more: expected fewer pixels than the stride {s} for {k} pixels, got {m}")
            found.append((n - 1) * s + end)
        return tuple(found)

    def weight_count(self, shape: Shape) -> int:
        return window_area(self.kernel_size, len(shape) - 1) * shape[-1] * self.kernels

    def product_flops(self, shape: Shape) -> float:
        # each pixel that is read, not written, is multiplied with all weights
        return 2.0 * self.weight_count(shape) * math.prod(shape[:-1])

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        rank = rank_of(tensor)
        return self.build_weighted(
            keras_class("Conv", rank, "Transpose"),
            tensor,
            name,
            filters=self.kernels,
            kernel_size=spread(self.kernel_size, rank),
            strides=spread(self.stride, rank),
            padding=self.padding,
            output_padding=self.more and spread(self.more, rank),
            kernel_initializer=self.initial_weights(seeds),
        )

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, "Conv", "Transpose"):
            return None
        expect_image_layer(layer)
        expect(layer, "dilation_rate", sizes(layer.dilation_rate) == (1,))
        more = None if layer.output_padding is None else sizes(layer.output_padding)
        kernel = (layer.filters, sizes(layer.kernel_size), sizes(layer.strides), layer.padding, more)
        return cls(*kernel, **cls.read_end(layer))

    def simplified(self) -> Layer:
        simple = Layer.simplified(self)
        return simple if self.more is None else simple.replaced(more=compact(self.more))

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        return self.replaced(padding="same", more=None) if only_same else self

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        rank = len(spatial)
        found = []
        sizes_after = self._enlarged(spatial)
        axes = zip(spatial, sizes_after, spread(self.kernel_size, rank), spread(self.stride, rank), strict=True)
        for n, after, k, s in axes:
            padded = max(0, (n - 1) * s + k - after) // 2 if self.padding == "same" else 0
            # where the kernels are smaller than the stride, some pixels read none: as if they read the one before
            found.append(Window(parts=s, first=min(padded, padded - k + s), last=padded))
        return tuple(found)
