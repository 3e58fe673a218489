"""Squeeze-and-excitation: a weight for each channel. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.attention.gate import keras_gated, squeezed, suited_ratio
from menndl_dask.genome.layers.common.bounds import WIDTH
from menndl_dask.genome.layers.common.keras_settings import keras_class, rank_of

_RATIOS = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class SqueezeExcitation(Layer):
    """Multiply each channel with a number from 0 to 1 that is computed from the means of all channels over the image.

    Hu et al. 2018, doi:10.1109/CVPR.2018.00745. In Keras: a global average, two convolutions of single pixels (the
    first one with ``channels // ratio`` kernels) and a product.
    """

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Squeeze-excitation"

    ratio: int = choice(*_RATIOS, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        squeezed(shape, self.ratio)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        kernels = squeezed(shape, self.ratio)
        return (shape[-1] + 1) * kernels + (kernels + 1) * shape[-1]

    def forward_flops(self, shape: Shape) -> float:
        kernels = squeezed(shape, self.ratio)
        # a mean and a product for each value; the second numbers are biases and activations
        return 2.0 * math.prod(shape) + 4.0 * shape[-1] * kernels + 2.0 * (kernels + shape[-1])

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        channels = int(tensor.shape[-1])
        kind = keras_class("GlobalAveragePooling", rank_of(tensor))
        means = kind(keepdims=True, name=f"{name}_means")(tensor)
        return keras_gated(tensor, means, channels // self.ratio, channels, name, seeds)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        return None  # several Keras layers, which `menndl_dask.genome.keras_model.gates` finds

    def reads_whole_image(self, shape: Shape) -> bool:
        return True

    def suited(self, shape: Shape) -> Layer:
        return self.replaced(ratio=suited_ratio(self.ratio, shape[-1], _RATIOS))
