"""The convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from menndl_dask.genome.domain import choice, integer, per_axis
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.keras_settings import expect, is_of, keras_class, rank_of
from menndl_dask.genome.layers.weighted import SlidingKernel


@dataclass(frozen=True, slots=True)
class Convolution(SlidingKernel):
    """A convolution: number of kernels, their size, stride, padding and dilation."""

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the image after the kernels, a channel for each."""
        return (*self.spatial_after(shape), self.kernels)

    def parameter_count(self, shape: Shape) -> int:
        """Count a weight for each kernel, channel and pixel under the kernel."""
        return self.kernel_area(shape) * shape[-1] * self.kernels + self.end_parameters(self.kernels)

    def forward_flops(self, shape: Shape) -> float:
        """Count two FLOPs for each weight and place of the kernels."""
        values = math.prod(self.output_shape(shape))
        return 2.0 * self.kernel_area(shape) * shape[-1] * values + self.end_flops(values)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``Conv2D``, or its like for another rank."""
        rank = rank_of(tensor)
        weights = self.initial_weights(seeds)
        make = partial(
            keras_class("Conv", rank), self.kernels, kernel_initializer=weights, **self.keras_kernel(rank)
        )
        return self.build_end(make, tensor, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``Conv2D``, or its like for another rank."""
        if not is_of(layer, "Conv"):
            return None
        expect(layer, "groups", layer.groups == 1)
        return cls(layer.filters, **cls.read_kernel(layer))

    def simplified(self) -> Layer:
        """Agree on a padding and a dilation where the kernel is a single pixel."""
        same = Layer.simplified(self)
        assert isinstance(same, Convolution)
        return replace(same, padding="same", dilation=(1,)) if same.kernel_size == (1,) else same
