"""Dropout. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, real, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import RATE
from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    expect_image_layer,
    is_exactly,
    is_of,
    rank_of,
)
from menndl_dask.genome.layers.elementwise.activation import only_join

_MODULE = "keras.src.applications.convnext"  # has a layer of its own


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Set a share of the values to zero while training.

    In Keras: ``Dropout``; ``SpatialDropout1D``, ``2D``, ``3D`` and ConvNeXt's ``StochasticDepth`` are read as one, too.

    Parameters
    ----------
    rate
        The share.
    together
        What is set to zero together: each ``value`` by itself, a ``channel`` (Tompson et al. 2015,
        doi:10.1109/CVPR.2015.7298664), or a whole ``sample``, which switches a residual branch off (Huang et al. 2016,
        doi:10.1007/978-3-319-46493-0_39).
    """

    channels: ClassVar[str] = "kept"

    rate: float = real(0.0, 0.7, default=0.25, valid=RATE)
    together: str = setting(Choice(("value", "channel", "sample")), "value", later=True)

    def output_shape(self, shape: Shape) -> Shape:
        if self.together == "channel" and len(shape) == 1:
            raise InfeasibleError("together: expected 'value' for features, which are a value each, got 'channel'")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        noise = _noise_shape(self.together, rank_of(tensor))
        return keras.layers.Dropout(self.rate, noise_shape=noise, seed=seeds(), name=name)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if is_of(layer, "SpatialDropout"):
            expect_image_layer(layer)
            return cls(float(layer.rate), "channel")
        if type(layer).__name__ == "StochasticDepth" and type(layer).__module__ == _MODULE:
            return cls(float(layer.drop_path_rate), "sample")
        if not is_exactly(layer, "Dropout"):
            return None
        given, rank = layer.noise_shape, rank_of(layer.input)
        written = given and (given[0], *(n if n == 1 else None for n in given[1:]))
        equal = given and all(n in (None, 1, m) for n, m in zip(given[1:], layer.input.shape[1:], strict=True))
        if given is None or written == (None,) * (rank + 2):
            return cls(float(layer.rate))
        found = [word for word in ("sample", "channel") if written == _noise_shape(word, rank)]
        expect(layer, "noise_shape", bool(equal and found))
        return cls(float(layer.rate), found[0])

    @property
    def is_identity(self) -> bool:
        return self.rate == 0

    def simplified(self) -> Layer:
        return only_join(self) if self.is_identity else self

    def suited(self, shape: Shape) -> Layer:
        return self.replaced(together="value") if self.together == "channel" and len(shape) == 1 else self


def _noise_shape(together: str, rank: int) -> tuple[int | None, ...] | None:
    """Return how Keras's layer says what has a random number of its own, for images of so many axes."""
    return {"channel": (None, *(1,) * rank, None), "sample": (None, *(1,) * rank, 1)}.get(together)
