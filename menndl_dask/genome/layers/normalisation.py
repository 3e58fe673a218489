"""The normalisation by itself. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.activation import only_join
from menndl_dask.genome.layers.keras_settings import expect, is_exactly

NORMALISATIONS = ("none", "batch", "layer")


@dataclass(frozen=True, slots=True)
class Normalisation(Layer):
    """Normalise over the batch, or each sample over its channels."""

    channels: ClassVar[str] = "kept"

    method: str = choice("batch", "layer", "none")

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return normalisation_parameters(self.method, shape[-1])

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return keras_normalisation(self.method, name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "BatchNormalization", "LayerNormalization"):
            return None
        last = len(layer.input.shape) - 1
        axes = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        expect(layer, "axis", axes in ([-1], [last]))
        expect(layer, "center", bool(layer.center))
        expect(layer, "scale", bool(layer.scale))
        return cls("batch" if is_exactly(layer, "BatchNormalization") else "layer")

    @property
    def is_identity(self) -> bool:
        return self.method == "none"

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self


def normalisation_parameters(method: str, channels: int) -> int:
    """Return the weights of a normalisation: scale and offset, and for a batch the moving mean and variance."""
    return {"none": 0, "batch": 4, "layer": 2}[method] * channels


def keras_normalisation(method: str, name: str) -> Any:
    """Return the Keras layer of a normalisation."""
    import keras

    if method == "batch":
        # with the few steps of a short training a slow moving average would be far from the truth
        return keras.layers.BatchNormalization(momentum=0.9, name=name)
    return keras.layers.LayerNormalization(axis=-1, name=name)
