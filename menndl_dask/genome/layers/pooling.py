"""Pooling over a window, and over the whole image. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice, per_axis, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.activation import only_join
from menndl_dask.genome.layers.keras_settings import expect, expect_image_layer, is_of, keras_class, rank_of, sizes
from menndl_dask.genome.layers.window import image_size, size_after_window, window_area, window_reach

_STEMS = {"max": "MaxPooling", "average": "AveragePooling"}


@dataclass(frozen=True, slots=True)
class Pooling(Layer):
    """The maximum or the average over a window that moves by `stride`."""

    channels: ClassVar[str] = "kept"
    drawn_family: ClassVar[str] = "pooling"

    size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, default=2)
    stride: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2)
    method: str = choice("max", "average")
    padding: str = choice("same", "valid")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the image that the windows give."""
        spatial = image_size(shape)
        reach = window_reach(self.size, (1,), len(spatial))
        return (*size_after_window(spatial, reach, self.stride, self.padding), shape[-1])

    def parameter_count(self, shape: Shape) -> int:
        """Return 0."""
        return 0

    def forward_flops(self, shape: Shape) -> float:
        """Count one FLOP for each value in each window."""
        return float(window_area(self.size, len(shape) - 1) * math.prod(self.output_shape(shape)))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``MaxPooling2D`` or ``AveragePooling2D``, or their like for another rank."""
        rank = rank_of(tensor)
        size, stride = spread(self.size, rank), spread(self.stride, rank)
        if rank == 1:  # Keras wants bare numbers here
            size, stride = size[0], stride[0]
        return keras_class(_STEMS[self.method], rank)(size, strides=stride, padding=self.padding, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``MaxPooling2D`` or ``AveragePooling2D``, or their like for another rank."""
        for method, stem in _STEMS.items():
            if is_of(layer, stem):
                expect_image_layer(layer)
                return cls(sizes(layer.pool_size), sizes(layer.strides), method, layer.padding)
        return None

    @property
    def is_identity(self) -> bool:
        """Whether the window is one pixel that moves by one: how MENNDL switches a slot off."""
        return set(self.size) == {1} and set(self.stride) == {1}

    def simplified(self) -> Layer:
        """Agree on a padding and a method where the window is a single pixel."""
        if self.is_identity:
            return only_join(self)
        same = Layer.simplified(self)
        assert isinstance(same, Pooling)
        return replace(same, padding="same", method="max") if same.size == (1,) else same

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        """Pad the image where the window is larger."""
        reach = window_reach(self.size, (1,), len(spatial))
        pads = only_same or any(r > n for r, n in zip(reach, spatial, strict=True))
        return replace(self, padding="same") if pads else self


@dataclass(frozen=True, slots=True)
class GlobalPooling(Layer):
    """The maximum or the average over the whole image: one number a channel."""

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Global pooling"
    drawn_family: ClassVar[str] = "pooling"

    method: str = choice("average", "max")

    def output_shape(self, shape: Shape) -> Shape:
        """Return a feature for each channel."""
        image_size(shape)
        return shape[-1:]

    def parameter_count(self, shape: Shape) -> int:
        """Return 0."""
        return 0

    def forward_flops(self, shape: Shape) -> float:
        """Count one FLOP a value."""
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Make a ``GlobalMaxPooling2D`` or ``GlobalAveragePooling2D``, or their like for another rank."""
        return keras_class(f"Global{_STEMS[self.method]}", rank_of(tensor))(name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Read a ``GlobalMaxPooling2D`` or ``GlobalAveragePooling2D``, or their like for another rank."""
        for method, stem in _STEMS.items():
            if is_of(layer, f"Global{stem}"):
                expect_image_layer(layer)
                expect(layer, "keepdims", not layer.keepdims)
                return cls(method)
        return None

    def at_end(self) -> Layer:
        """Leave averaging to the head, which does so in a classification or regression network."""
        return only_join(self) if self.method == "average" else self
