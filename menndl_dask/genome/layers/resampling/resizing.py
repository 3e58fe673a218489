"""Resizing to a given number of pixels. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import Choice, Integer, Several, choice, setting, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.keras_settings import expect_image_layer, is_exactly
from menndl_dask.genome.layers.common.window import INTERPOLATIONS, image_size, resizing_window


@dataclass(frozen=True, slots=True)
class Resizing(Layer):
    """Compute an image of a given size by interpolation; 2-D images. In Keras: ``Resizing``, without antialiasing.

    Parameters
    ----------
    size
        Pixels along each axis.
    interpolation
        ``nearest``, ``bilinear``, ``bicubic``, ``lanczos3`` or ``lanczos5``.
    """

    channels: ClassVar[str] = "kept"
    drawn_family: ClassVar[str] = "enlarging"
    ranks: ClassVar[tuple[int, ...]] = (2,)

    size: tuple[int, ...] = setting(Several(Integer(1, 65_536), most=2), (32,))
    interpolation: str = choice("bilinear", "nearest", valid=Choice(tuple(INTERPOLATIONS)))

    def output_shape(self, shape: Shape) -> Shape:
        image_size(shape, self.ranks)
        return (*spread(self.size, 2), shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(self.output_shape(shape)))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        height, width = spread(self.size, 2)
        return keras.layers.Resizing(height, width, interpolation=self.interpolation, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "Resizing"):
            return None
        expect_image_layer(layer)
        size = (layer.height, layer.width)
        return cls(size[:1] if layer.height == layer.width else size, layer.interpolation)

    def simplified(self) -> Layer:
        return self.replaced(size=self.size[:1]) if len(set(self.size)) == 1 and len(self.size) > 1 else self

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        after = spread(self.size, len(spatial))
        return tuple(resizing_window(n, m, self.interpolation) for n, m in zip(spatial, after, strict=True))
