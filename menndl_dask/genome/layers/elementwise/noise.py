"""Noise while training. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice, real
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import RATE
from menndl_dask.genome.layers.common.keras_settings import expect, is_exactly
from menndl_dask.genome.layers.elementwise.activation import only_join

_CLASSES = {"added": "GaussianNoise", "multiplied": "GaussianDropout", "alpha": "AlphaDropout"}


@dataclass(frozen=True, slots=True)
class Noise(Layer):
    """Add or multiply random numbers while training.

    In Keras: ``GaussianNoise``, ``GaussianDropout``, ``AlphaDropout``.

    Parameters
    ----------
    method
        ``added`` (normal, of mean 0), ``multiplied`` (normal, of mean 1) or ``alpha`` (some values are set to the
        lowest one of `selu`, and all are scaled so that mean and variance stay).
    amount
        The standard deviation of what is added, otherwise the rate, as of dropout.
    """

    channels: ClassVar[str] = "kept"

    method: str = choice("added", "multiplied", "alpha")
    amount: float = real(0.01, 0.5, log=True, default=0.1, valid=RATE)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return getattr(keras.layers, _CLASSES[self.method])(self.amount, seed=seeds(), name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        found = [method for method, name in _CLASSES.items() if is_exactly(layer, name)]
        if not found:
            return None
        expect(layer, "noise_shape", getattr(layer, "noise_shape", None) is None)
        return cls(found[0], float(layer.stddev if found[0] == "added" else layer.rate))

    @property
    def is_identity(self) -> bool:
        return self.amount == 0

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self
