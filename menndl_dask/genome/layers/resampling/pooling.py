"""Pooling over a window, and over the whole image. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import Choice, choice, per_axis, setting, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import FLAG, SIZES, STRIDES
from menndl_dask.genome.layers.common.keras_settings import (
    expect_image_layer,
    is_of,
    is_operation,
    keras_class,
    rank_of,
    sizes,
)
from menndl_dask.genome.layers.common.window import (
    image_size,
    size_after_window,
    sliding_windows,
    window_area,
    window_reach,
)
from menndl_dask.genome.layers.elementwise.activation import only_join

_STEMS = {"max": "MaxPooling", "average": "AveragePooling"}


@dataclass(frozen=True, slots=True)
class Pooling(Layer):
    """The maximum or the average over a window that moves by `stride`."""

    channels: ClassVar[str] = "kept"
    drawn_family: ClassVar[str] = "pooling"

    size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, default=2, valid=SIZES)
    stride: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2, valid=STRIDES)
    method: str = choice("max", "average")
    padding: str = choice("same", "valid")

    def output_shape(self, shape: Shape) -> Shape:
        spatial = image_size(shape)
        reach = window_reach(self.size, (1,), len(spatial))
        return (*size_after_window(spatial, reach, self.stride, self.padding), shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(window_area(self.size, len(shape) - 1) * math.prod(self.output_shape(shape)))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        rank = rank_of(tensor)
        size, stride = spread(self.size, rank), spread(self.stride, rank)
        if rank == 1:  # Keras wants bare numbers here
            size, stride = size[0], stride[0]
        return keras_class(_STEMS[self.method], rank)(size, strides=stride, padding=self.padding, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        for method, stem in _STEMS.items():
            if is_of(layer, stem):
                expect_image_layer(layer)
                return cls(sizes(layer.pool_size), sizes(layer.strides), method, layer.padding)
        return None

    @property
    def is_identity(self) -> bool:
        return {*self.size, *self.stride} == {1}  # with such a window MENNDL switches a slot off

    def simplified(self) -> Layer:
        if self.is_identity:
            return only_join(self)
        simple = Layer.simplified(self)
        return simple.replaced(padding="same", method="max") if set(self.size) == {1} else simple

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        reach = window_reach(self.size, (1,), len(spatial))
        pads = only_same or any(r > n for r, n in zip(reach, spatial, strict=True))
        return self.replaced(padding="same") if pads else self

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        reach = window_reach(self.size, (1,), len(spatial))
        return sliding_windows(spatial, reach, self.stride, self.padding)


@dataclass(frozen=True, slots=True)
class GlobalPooling(Layer):
    """The maximum or the average over the whole image: one number a channel. Or over the channels: one a pixel.

    In Keras: ``GlobalMaxPooling1D``, ``GlobalAveragePooling2D``, …; over the channels an operation, ``keras.ops.mean``.

    Parameters
    ----------
    method
        ``average`` or ``max``.
    keepdims
        Whether the result is an image of one pixel, which can be multiplied with a larger one.
    over
        ``pixels``, or ``channels`` (Woo et al. 2018, doi:10.1007/978-3-030-01234-2_1); then `keepdims` does not count.
    """

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Global pooling"
    drawn_family: ClassVar[str] = "pooling"

    method: str = choice("average", "max")
    keepdims: bool = setting(FLAG, False, later=True)
    over: str = setting(Choice(("pixels", "channels")), "pixels", later=True)

    def output_shape(self, shape: Shape) -> Shape:
        spatial = image_size(shape)
        if self.over == "channels":
            return (*spatial, 1)
        return (*(1,) * len(spatial) * self.keepdims, shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        if self.over == "channels":
            mean = keras.ops.mean if self.method == "average" else keras.ops.max
            return mean(tensor, axis=-1, keepdims=True)
        return keras_class(f"Global{_STEMS[self.method]}", rank_of(tensor))(keepdims=self.keepdims, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        for method, stem in _STEMS.items():
            if is_of(layer, f"Global{stem}"):
                expect_image_layer(layer)
                return cls(method, bool(layer.keepdims))
        if is_operation(layer, "Mean", "Max"):
            return cls("average" if is_operation(layer, "Mean") else "max", over="channels")
        return None

    @property
    def channel_role(self) -> str:
        return self.channels if self.over == "pixels" else "mixed"

    def simplified(self) -> Layer:
        return self.replaced(keepdims=False) if self.over == "channels" and self.keepdims else self

    def at_end(self) -> Layer:
        mean = self.method == "average" and self.over == "pixels"
        return only_join(self) if mean and not self.keepdims else self

    def reads_whole_image(self, shape: Shape) -> bool:
        return self.over == "pixels"
