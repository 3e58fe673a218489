"""The fully connected layer, and flattening. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import integer
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.keras_settings import expect_image_layer, is_exactly, rank_of, unsupported
from menndl_dask.genome.layers.weighted import Weighted


@dataclass(frozen=True, slots=True)
class FullyConnected(Weighted):
    """A fully connected layer; images are flattened first. The weights are those of all the features read."""

    drawn_title: ClassVar[str] = "Fully connected"
    drawn_family: ClassVar[str] = "dense"

    units: int = integer(4, 1024, log=True, default=64)

    def output_shape(self, shape: Shape) -> Shape:
        """Return a feature for each unit."""
        return (self.units,)

    def parameter_count(self, shape: Shape) -> int:
        """Count a weight for each value read and unit."""
        return math.prod(shape) * self.units + self.end_parameters(self.units)

    def forward_flops(self, shape: Shape) -> float:
        """Count two FLOPs a weight."""
        return 2.0 * math.prod(shape) * self.units + self.end_flops(self.units)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``Dense``, after a ``Flatten`` where it reads an image."""
        import keras

        if rank_of(tensor) > 0:
            tensor = keras.layers.Flatten(name=f"{name}_flatten")(tensor)
        make = partial(keras.layers.Dense, self.units, kernel_initializer=self.initial_weights(seeds))
        return self.build_end(make, tensor, name)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``Dense`` that reads features."""
        if not is_exactly(layer, "Dense"):
            return None
        if rank_of(layer.input) > 0:
            why = "it reads an image pixel by pixel; use a convolution with kernel size 1 instead"
            raise unsupported(layer, why)
        return cls(layer.units, **cls.read_end(layer))


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """Write the image as one vector. Fully connected layers do so by themselves."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return a feature for each value."""
        return (math.prod(shape),)

    def parameter_count(self, shape: Shape) -> int:
        """Return 0."""
        return 0

    def forward_flops(self, shape: Shape) -> float:
        """Return 0."""
        return 0.0

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``Flatten``."""
        import keras

        return keras.layers.Flatten(name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``Flatten``."""
        if not is_exactly(layer, "Flatten"):
            return None
        expect_image_layer(layer)
        return cls()

    def is_undone_by(self, following: Layer) -> bool:
        """Tell whether the layer that follows flattens by itself."""
        return isinstance(following, FullyConnected | Flatten)

    def absorb(self, following: Layer) -> Layer | None:
        """Leave flattening to the layer that follows, if it does so by itself."""
        return following if self.is_undone_by(following) else None
