"""Gene kinds of a user, as a user would write them: each with its five rules, and no Keras until it is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import choice, per_axis, real
from menndl_dask.genome.layer import Layer

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupNormalisation(Layer):
    """Normalise each sample over groups of its channels; the number of groups must divide that of the channels."""

    groups: int = choice(2, 4)

    def output_shape(self, shape: Shape) -> Shape:
        if shape[-1] % self.groups:
            raise InfeasibleError(f"expected channels in {self.groups} groups, got {shape[-1]}")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[-1]

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
        import keras

        return keras.layers.GroupNormalization(self.groups, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        # the package's normalisation by groups has another epsilon
        own = type(layer).__name__ == "GroupNormalization" and layer.epsilon == 1e-3
        return cls(layer.groups) if own else None


@dataclass(frozen=True, slots=True)
class Noise(Layer):
    """Add normal noise while training."""

    channels: ClassVar[str] = "kept"

    amount: float = real(0.01, 0.5, log=True, default=0.1)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
        import keras

        return keras.layers.GaussianNoise(self.amount, seed=seeds(), name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        return cls(float(layer.stddev)) if type(layer).__name__ == "GaussianNoise" else None


@dataclass(frozen=True, slots=True)
class GroupedConvolution(Layer):
    """A convolution in two groups and without an activation: a Keras layer that the package knows, too."""

    kernel_size: tuple[int, ...] = per_axis(1, 3)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2 or shape[-1] % 2:
            raise InfeasibleError(f"expected an image with an even number of channels, got {shape}")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        area = math.prod(self.kernel_size) ** (1 if len(self.kernel_size) > 1 else len(shape) - 1)
        return area * shape[-1] * shape[-1] // 2 + shape[-1]

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * self.parameter_count(shape) * math.prod(shape[:-1])

    def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
        import keras

        rank = len(tensor.shape) - 2
        size = self.kernel_size * rank if len(self.kernel_size) == 1 else self.kernel_size
        kind = getattr(keras.layers, f"Conv{rank}D")
        return kind(tensor.shape[-1], size, padding="same", groups=2, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if getattr(layer, "groups", 1) != 2 or not type(layer).__name__.startswith("Conv"):
            return None
        alike = layer.filters == layer.input.shape[-1] and layer.padding == "same"
        alike = alike and layer.activation.__name__ == "linear"
        return cls(tuple(layer.kernel_size)) if alike else None


EXTRA = (GroupNormalisation, Noise, GroupedConvolution)
