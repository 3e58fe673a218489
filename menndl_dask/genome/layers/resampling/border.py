"""Padding with zeros, and cropping. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import per_axis, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import BORDER
from menndl_dask.genome.layers.common.keras_settings import expect_image_layer, is_of, keras_class, rank_of, sizes
from menndl_dask.genome.layers.common.window import image_size
from menndl_dask.genome.layers.elementwise.activation import only_join


class Border(Layer):
    """Base of the layers that add pixels around an image, or leave them out: `before` and `after` along each axis."""

    __slots__ = ()
    channels: ClassVar[str] = "kept"
    drawn_family: ClassVar[str] = "pooling"
    stem: ClassVar[str]  # of the name of Keras's class
    setting: ClassVar[str]  # of Keras's class
    sign: ClassVar[int]

    before: tuple[int, ...]
    after: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        spatial = image_size(shape)
        found = tuple(n + self.sign * (b + a) for n, (b, a) in zip(spatial, self._pairs(len(spatial)), strict=True))
        if min(found) < 1:
            raise InfeasibleError(f"expected an image that is larger than what is cropped, got {spatial}")
        return (*found, shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(self.output_shape(shape)))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        rank = rank_of(tensor)
        pairs = self._pairs(rank)
        return keras_class(self.stem, rank)(pairs[0] if rank == 1 else pairs, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_of(layer, cls.stem):
            return None
        if cls.setting != "padding":
            expect_image_layer(layer)
        pairs = np.reshape(getattr(layer, cls.setting), (-1, 2))
        return cls(sizes(pairs[:, 0].tolist()), sizes(pairs[:, 1].tolist()))  # type: ignore[call-arg, arg-type]

    @property
    def is_identity(self) -> bool:
        return not any((*self.before, *self.after))

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else Layer.simplified(self)

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        return tuple(Window(first=-self.sign * b, last=-self.sign * b) for b, _ in self._pairs(len(spatial)))

    def _pairs(self, rank: int) -> tuple[tuple[int, int], ...]:
        return tuple(zip(spread(self.before, rank), spread(self.after, rank), strict=True))


@dataclass(frozen=True, slots=True)
class ZeroPadding(Border):
    """Add pixels of the value 0 around an image. In Keras: ``ZeroPadding1D``, ``2D``, ``3D``.

    Parameters
    ----------
    before, after
        Pixels that are added at the beginning and at the end of each axis.
    """

    drawn_title: ClassVar[str] = "Zero padding"
    stem: ClassVar[str] = "ZeroPadding"
    setting: ClassVar[str] = "padding"
    sign: ClassVar[int] = 1

    before: tuple[int, ...] = per_axis(0, 1, 2, 3, default=1, valid=BORDER)
    after: tuple[int, ...] = per_axis(0, 1, 2, 3, default=1, valid=BORDER)


@dataclass(frozen=True, slots=True)
class Cropping(Border):
    """Leave out pixels around an image. In Keras: ``Cropping1D``, ``2D``, ``3D``.

    Parameters
    ----------
    before, after
        Pixels that are left out at the beginning and at the end of each axis.
    """

    stem: ClassVar[str] = "Cropping"
    setting: ClassVar[str] = "cropping"
    sign: ClassVar[int] = -1

    before: tuple[int, ...] = per_axis(0, 1, 2, 3, valid=BORDER)
    after: tuple[int, ...] = per_axis(0, 1, 2, 3, default=1, valid=BORDER)
