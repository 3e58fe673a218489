"""The convolution. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from menndl_dask.genome.domain import choice, integer, per_axis
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.keras_settings import expect, is_of
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
        return (*self.spatial_after(shape), self.kernels)

    def weight_count(self, shape: Shape) -> int:
        return self.kernel_area(shape) * shape[-1] * self.kernels

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        settings = {"filters": self.kernels, "kernel_initializer": self.initial_weights(seeds)}
        return self.build_kernels("Conv", tensor, name, **settings)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, "Conv"):
            return None
        expect(layer, "groups", layer.groups == 1)
        return cls(layer.filters, **cls.read_kernel(layer))

    def simplified(self) -> Layer:
        simple = Layer.simplified(self)
        return simple.replaced(padding="same", dilation=(1,)) if set(self.kernel_size) == {1} else simple
