"""The fully connected layer, and flattening. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import integer
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import WIDTH
from menndl_dask.genome.layers.common.keras_settings import expect_image_layer, is_exactly, rank_of
from menndl_dask.genome.layers.weighted import Weighted


@dataclass(frozen=True, slots=True)
class FullyConnected(Weighted):
    """A fully connected layer; images are flattened first. The weights are those of all the features read."""

    drawn_title: ClassVar[str] = "Fully connected"
    drawn_family: ClassVar[str] = "dense"

    units: int = integer(4, 1024, log=True, default=64, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        return self.ended((self.units,))

    def weight_count(self, shape: Shape) -> int:
        return math.prod(shape) * self.units

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        if rank_of(tensor) > 0:
            tensor = keras.layers.Flatten(name=f"{name}_flatten")(tensor)
        settings = {"units": self.units, "kernel_initializer": self.initial_weights(seeds)}
        return self.build_weighted(keras.layers.Dense, tensor, name, **settings)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Dense"):
            return None
        if rank_of(layer.input) > 0:  # a convolution of single pixels
            return None
        return cls(layer.units, **cls.read_end(layer))


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """Write the image as one vector. Fully connected layers do so by themselves."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return 0.0

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return keras.layers.Flatten(name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Flatten"):
            return None
        expect_image_layer(layer)
        return cls()

    def is_undone_by(self, following: Layer) -> bool:
        return isinstance(following, FullyConnected | Flatten)
