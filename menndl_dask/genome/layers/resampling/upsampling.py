"""Upsampling. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, choice, per_axis, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import STRIDES
from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    expect_image_layer,
    is_of,
    keras_class,
    rank_of,
    sizes,
)
from menndl_dask.genome.layers.common.window import INTERPOLATIONS, enlarging_windows, image_size
from menndl_dask.genome.layers.elementwise.activation import only_join


@dataclass(frozen=True, slots=True)
class Upsampling(Layer):
    """Enlarge the image a whole number of times. In Keras: ``UpSampling1D``, ``2D``, ``3D``.

    Parameters
    ----------
    size
        How many times, along each axis.
    interpolation
        ``nearest``; for 2-D images ``bilinear``, ``bicubic``, ``lanczos3`` or ``lanczos5``, too.
    """

    channels: ClassVar[str] = "kept"
    drawn_family: ClassVar[str] = "enlarging"

    size: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2, valid=STRIDES)
    interpolation: str = choice("nearest", "bilinear", valid=Choice(tuple(INTERPOLATIONS)))

    def output_shape(self, shape: Shape) -> Shape:
        spatial = image_size(shape)
        rank = len(spatial)
        if self.interpolation != "nearest" and rank != 2:
            raise InfeasibleError(f"{self.interpolation} interpolation exists for 2-D images, got {rank} axes")
        return (*(n * s for n, s in zip(spatial, spread(self.size, rank), strict=True)), shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(self.output_shape(shape)))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return keras_upsampling(tensor, spread(self.size, rank_of(tensor)), self.interpolation, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, "UpSampling"):
            return None
        expect_image_layer(layer)
        interpolation = getattr(layer, "interpolation", "nearest")
        expect(layer, "interpolation", interpolation in INTERPOLATIONS)
        return cls(sizes(layer.size), interpolation)

    @property
    def is_identity(self) -> bool:
        return set(self.size) == {1}

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else Layer.simplified(self)

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        return enlarging_windows(spread(self.size, len(spatial)), self.interpolation)


def keras_upsampling(tensor: Any, factors: Shape, interpolation: str, name: str) -> Any:
    """Enlarge a Keras tensor so many times along each axis; interpolation only where Keras has it, in 2-D."""
    rank = rank_of(tensor)
    kind = keras_class("UpSampling", rank)
    if rank == 2:
        return kind(factors, interpolation=interpolation, name=name)(tensor)
    return kind(factors[0] if rank == 1 else factors, name=name)(tensor)
