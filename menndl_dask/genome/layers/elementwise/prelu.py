"""The rectifier whose slope of negative values is learnt. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import expect, is_exactly, rank_of


@dataclass(frozen=True, slots=True)
class PReLU(Layer):
    """Multiply negative values with learnt slopes; He et al. 2015, doi:10.1109/ICCV.2015.123. In Keras: ``PReLU``.

    Parameters
    ----------
    slopes
        One for each ``channel``, for each ``value`` of an image, or a ``single`` one.
    """

    channels: ClassVar[str] = "kept"

    slopes: str = choice("channel", "value", "single")

    def output_shape(self, shape: Shape) -> Shape:
        if self.slopes == "value" and len(shape) == 1:
            raise InfeasibleError("slopes: expected 'channel' for features, which have a slope each, got 'value'")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return {"channel": shape[-1], "single": 1}.get(self.slopes, math.prod(shape))

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        shared = _shared_axes(self.slopes, rank_of(tensor))
        return keras.layers.PReLU(shared_axes=shared, name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "PReLU"):
            return None
        rank = rank_of(layer.input)
        given = sorted(layer.shared_axes or ())
        found = [word for word in ("channel", "value", "single") if (_shared_axes(word, rank) or []) == given]
        expect(layer, "shared_axes", bool(found))
        return cls(found[0])

    def suited(self, shape: Shape) -> Layer:
        return self.replaced(slopes="channel") if self.slopes == "value" and len(shape) == 1 else self


def _shared_axes(slopes: str, rank: int) -> list[int] | None:
    """Return the axes along which Keras's layer has one slope, counted from 1 without the batch."""
    if slopes == "value":
        return None
    return list(range(1, rank + 1 + (slopes == "single"))) or None
