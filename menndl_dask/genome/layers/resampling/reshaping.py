"""Other axes for the same values. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from menndl_dask.errors import GenomeError, InfeasibleError
from menndl_dask.genome.domain import Integer, Several, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.keras_settings import expect, is_exactly
from menndl_dask.genome.layers.common.window import any_pixel
from menndl_dask.genome.layers.elementwise.activation import only_join

_MOST_AXES = 8  # of blocks of pixels in a volume: two for each axis, and the channels


@dataclass(frozen=True, slots=True)
class Reshape(Layer):
    """Write the values with other axes, such as an image as a sequence of pixels. In Keras: ``Reshape``.

    Parameters
    ----------
    target
        The sizes of the axes, the channels last; one of them may be -1: what is left.
    """

    target: tuple[int, ...] = setting(Several(Integer(-1, 2**31), most=_MOST_AXES), (-1,))

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        if 0 in self.target or self.target.count(-1) > 1:
            raise GenomeError(f"Reshape: target: expected sizes, of which one may be -1, got {self.target}")

    def output_shape(self, shape: Shape) -> Shape:
        values, known = math.prod(shape), math.prod(n for n in self.target if n > 0)
        if values != known and (-1 not in self.target or values % known):
            raise InfeasibleError(f"expected values for the shape {self.target}, got {values} in {shape}")
        return tuple(n if n > 0 else values // known for n in self.target)

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return 0.0

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return keras.layers.Reshape(self.target, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Reshape"):
            return None
        expect(layer, "target_shape", None not in layer.target_shape)
        return cls(tuple(int(n) for n in layer.target_shape))

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        return any_pixel(spatial)


@dataclass(frozen=True, slots=True)
class Permute(Layer):
    """Write the axes in another order. In Keras: ``Permute``.

    Parameters
    ----------
    order
        For each axis of the output the number of an axis of the input, counted from 1, the channels as the last one.
    """

    order: tuple[int, ...] = setting(Several(Integer(1, _MOST_AXES), most=_MOST_AXES), (2, 1))

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        if sorted(self.order) != list(range(1, len(self.order) + 1)):
            raise GenomeError(f"Permute: order: expected each axis once, counted from 1, got {self.order}")

    def output_shape(self, shape: Shape) -> Shape:
        if len(self.order) != len(shape):
            raise InfeasibleError(f"expected {len(self.order)} axes, got {shape}")
        return tuple(shape[axis - 1] for axis in self.order)

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return 0.0

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        return keras.layers.Permute(self.order, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        return cls(tuple(int(n) for n in layer.dims)) if is_exactly(layer, "Permute") else None

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        return any_pixel(spatial)

    @property
    def is_identity(self) -> bool:
        return list(self.order) == sorted(self.order)

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self
