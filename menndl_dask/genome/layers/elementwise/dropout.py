"""Dropout. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import real
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import RATE
from menndl_dask.genome.layers.common.keras_settings import expect, is_exactly
from menndl_dask.genome.layers.elementwise.activation import only_join


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Set a share of the values to zero while training."""

    channels: ClassVar[str] = "kept"

    rate: float = real(0.0, 0.7, default=0.25, valid=RATE)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return keras.layers.Dropout(self.rate, seed=seeds(), name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Dropout"):
            return None
        expect(layer, "noise_shape", layer.noise_shape is None)
        return cls(float(layer.rate))

    @property
    def is_identity(self) -> bool:
        return self.rate == 0

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self
