"""The activation by itself. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import Choice, Maybe, Real, choice, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import ACTIVATIONS, FLAG, FUNCTIONS
from menndl_dask.genome.layers.common.keras_settings import (
    expect_last_axis,
    function_name,
    is_exactly,
    is_operation,
)

_SLOPES = {"leaky_relu": 0.2, "elu": 1.0, "celu": 1.0}  # by default, in keras.activations
_SIX = 6.0  # the ceiling of relu6


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An activation by itself; ``linear`` with several inputs only joins them.

    In Keras: ``Activation``, or ``ReLU``, ``LeakyReLU`` or ``ELU`` with these settings; with another slope of ``celu``,
    and for the approximate ``gelu``, an operation of `keras.ops`.

    Parameters
    ----------
    function
        Its name in `keras.activations`; softmax and the like are over the channels.
    slope
        Of negative values: that of ``relu`` and ``leaky_relu``, alpha of ``elu`` and ``celu``. None: 0 for ``relu``,
        and otherwise what Keras's function has, 0.2, 1 and 1.
    ceiling
        Largest result of ``relu``. None: no largest one.
    threshold
        Value up to which ``relu`` counts as negative.
    approximate
        Whether ``gelu`` is computed with the hyperbolic tangent.
    """

    channels: ClassVar[str] = "kept"

    function: str = choice(*ACTIVATIONS, valid=Choice(FUNCTIONS))
    slope: float | None = setting(Maybe(Real(0.0, 1e3)), None, later=True)
    ceiling: float | None = setting(Maybe(Real(0.0, 1e6)), None, later=True)
    threshold: float = setting(Real(0.0, 1e6), 0.0, later=True)
    approximate: bool = setting(FLAG, False, later=True)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        gene = self.written_alike()
        if gene.is_identity:
            return tensor
        if gene.is_plain:
            return keras.layers.Activation(gene.function, name=name)(tensor)
        if gene.function == "relu":
            return keras.layers.ReLU(gene.ceiling, gene.slope or 0.0, gene.threshold, name=name)(tensor)
        if gene.function == "leaky_relu":
            return keras.layers.LeakyReLU(gene.slope, name=name)(tensor)
        if gene.function == "elu":
            return keras.layers.ELU(gene.slope, name=name)(tensor)
        return keras.ops.celu(tensor, alpha=gene.slope) if gene.function == "celu" else keras.ops.gelu(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if is_exactly(layer, "Activation"):
            return cls(function_name(layer))
        if is_exactly(layer, "ReLU"):
            ceiling = None if layer.max_value is None else float(layer.max_value)
            return cls("relu", float(layer.negative_slope), ceiling, float(layer.threshold)).written_alike()
        if is_exactly(layer, "LeakyReLU"):
            return cls("leaky_relu", float(layer.negative_slope)).written_alike()
        if is_exactly(layer, "ELU"):
            return cls("elu", float(layer.alpha)).written_alike()
        if is_exactly(layer, "Softmax"):
            expect_last_axis(layer)
            return cls("softmax")
        if is_operation(layer, "Gelu"):
            return cls("gelu", approximate=bool(layer.approximate))
        if is_operation(layer, "Elu", "Celu"):
            return cls(type(layer).__name__.lower(), float(layer.alpha)).written_alike()
        return None

    @property
    def is_identity(self) -> bool:
        return self.function == "linear"

    @property
    def is_plain(self) -> bool:
        """Whether its name says all: layers with weights can end with it, as their field `activation` says."""
        return (self.slope, self.ceiling, self.threshold, self.approximate) == (None, None, 0.0, False)

    def simplified(self) -> Layer:
        return self.written_alike()

    def written_alike(self) -> Self:
        """Return the same function, written as all equal ones are; without settings that it does not have."""
        if self.is_plain:
            return self
        function, slope, ceiling, threshold = self.function, self.slope, self.ceiling, self.threshold
        if function in ("relu", "leaky_relu"):
            slope = _SLOPES.get(function, 0.0) if slope is None else slope
            if ceiling is None and threshold == 0:
                function = "leaky_relu" if slope else "relu"
            else:
                function = "relu6" if (slope, ceiling, threshold) == (0, _SIX, 0) else "relu"
        if function not in ("relu", "leaky_relu"):
            ceiling, threshold = None, 0.0
        if function not in ("relu", *_SLOPES) or (slope is not None and abs(slope - _SLOPES.get(function, 0.0)) < 1e-6):
            slope = None
        approximate = self.approximate and function == "gelu"
        return self.replaced(
            function=function, slope=slope, ceiling=ceiling, threshold=threshold, approximate=approximate
        )


def only_join(layer: Layer) -> Activation:
    """Return the canonical form of a layer that only joins its inputs."""
    return Activation("linear", inputs=layer.inputs, join=layer.join)
