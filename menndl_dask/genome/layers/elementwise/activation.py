"""The activation by itself. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import expect, function_name, is_exactly

ACTIVATIONS = ("relu", "elu", "gelu", "silu", "tanh", "leaky_relu", "linear")


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An activation by itself; ``linear`` with several inputs only joins them."""

    channels: ClassVar[str] = "kept"

    function: str = choice(*ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return tensor if self.is_identity else keras.layers.Activation(self.function, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if is_exactly(layer, "Activation"):
            return cls(function_name(layer))
        if is_exactly(layer, "ReLU"):
            expect(layer, "max_value", layer.max_value is None)
            expect(layer, "negative_slope", layer.negative_slope == 0)
            expect(layer, "threshold", layer.threshold == 0)
            return cls("relu")
        if is_exactly(layer, "LeakyReLU"):
            # 0.2 is the slope of Keras's activation function of this name; that of its layer is 0.3 by default
            expect(layer, "negative_slope", abs(layer.negative_slope - 0.2) < 1e-6)
            return cls("leaky_relu")
        if is_exactly(layer, "ELU"):
            expect(layer, "alpha", float(layer.alpha) == 1.0)
            return cls("elu")
        return None

    @property
    def is_identity(self) -> bool:
        return self.function == "linear"


def only_join(layer: Layer) -> Activation:
    """Return the canonical form of a layer that only joins its inputs."""
    return Activation("linear", inputs=layer.inputs, join=layer.join)
