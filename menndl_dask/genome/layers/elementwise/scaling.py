"""Scaling by fixed and by learnt numbers. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Real, Several, compact, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import is_exactly, rank_of, unsupported
from menndl_dask.genome.layers.elementwise.activation import only_join

_NUMBERS = Several(Real(-1e30, 1e30), most=65_536)
_MODULE = "keras.src.applications.convnext"  # has a layer of its own for scaling by channel


@dataclass(frozen=True, slots=True)
class Rescaling(Layer):
    """Multiply with fixed numbers and add others. In Keras: ``Rescaling``; ``Normalization`` is read as one, too.

    Parameters
    ----------
    scale, offset
        One number for all channels, or one for each.
    """

    scale: tuple[float, ...] = setting(_NUMBERS, (1 / 255,))
    offset: tuple[float, ...] = setting(_NUMBERS, (0.0,))

    def output_shape(self, shape: Shape) -> Shape:
        for numbers in (self.scale, self.offset):
            if len(numbers) not in (1, shape[-1]):
                raise InfeasibleError(f"expected numbers for {shape[-1]} channels, got {len(numbers)}")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        scale, offset = (list(each) if len(each) > 1 else each[0] for each in (self.scale, self.offset))
        return keras.layers.Rescaling(scale, offset, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Rescaling"):
            return None
        given = [np.asarray(each, float) for each in (layer.scale, layer.offset)]
        for name, each in zip(("scale", "offset"), given, strict=True):
            if each.size != 1 and each.shape[-1] != each.size:
                raise unsupported(layer, f"{name}: expected a number, or one for each channel, got {each.shape}")
        return cls(*(compact(tuple(each.reshape(-1).tolist())) for each in given))

    @property
    def is_identity(self) -> bool:
        return set(self.scale) == {1.0} and set(self.offset) == {0.0}

    @property
    def channel_role(self) -> str:
        return "kept" if len(self.scale) == len(self.offset) == 1 else "fixed"

    def simplified(self) -> Layer:
        if self.is_identity:
            return only_join(self)
        return self.replaced(scale=compact(self.scale), offset=compact(self.offset))


@dataclass(frozen=True, slots=True)
class LayerScale(Layer):
    """Multiply each channel with a learnt number; Touvron et al. 2021, doi:10.1109/ICCV48922.2021.00010.

    In Keras: ``EinsumDense``, whose weights are one number for each channel. The layer of this name in Keras's ConvNeXt
    is read as one, too.

    Parameters
    ----------
    initial
        The number before training.
    """

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Layer scale"

    initial: float = setting(Real(0.0, 1e3), 1e-6)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return shape[-1]

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        first = keras.initializers.Constant(self.initial)
        shape = tuple(int(n) for n in tensor.shape[1:])
        equation = _equation(rank_of(tensor))
        return keras.layers.EinsumDense(equation, output_shape=shape, kernel_initializer=first, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if type(layer).__name__ == "LayerScale" and type(layer).__module__ == _MODULE:
            return cls(float(layer.init_values))
        if not is_exactly(layer, "EinsumDense") or layer.equation != _equation(rank_of(layer.input)):
            return None
        first = getattr(layer.kernel_initializer, "value", None)  # of a constant one
        return cls(float(first)) if isinstance(first, (int, float)) else cls()


def _equation(rank: int) -> str:
    axes = "bcd"[:rank]
    return f"a{axes}z,z->a{axes}z"
