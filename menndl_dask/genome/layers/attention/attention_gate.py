"""The attention gate: a weight for each pixel. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import choice
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.attention.gate import keras_gated, squeezed, suited_ratio
from menndl_dask.genome.layers.common.bounds import WIDTH

_RATIOS = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class AttentionGate(Layer):
    """Multiply each pixel with a number from 0 to 1 that is computed from its channels.

    In a U-shaped network it reads the decoder's stage and the encoder's, concatenated. Then the number is that of
    Oktay et al. 2018, doi:10.48550/arXiv.1804.03999: weights for the one and weights for the other, added. Here both
    are multiplied with it, in the article only the encoder's stage. In Keras: two convolutions of single pixels (the
    first one with ``channels // ratio`` kernels) and a product.
    """

    channels: ClassVar[str] = "kept"
    drawn_title: ClassVar[str] = "Attention gate"

    ratio: int = choice(*_RATIOS, valid=WIDTH)

    def output_shape(self, shape: Shape) -> Shape:
        squeezed(shape, self.ratio)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        kernels = squeezed(shape, self.ratio)
        return (shape[-1] + 1) * kernels + kernels + 1

    def forward_flops(self, shape: Shape) -> float:
        kernels, pixels = squeezed(shape, self.ratio), math.prod(shape[:-1])
        # a product for each value; the second numbers are biases and activations
        return math.prod(shape) + 2.0 * pixels * kernels * (shape[-1] + 1) + 2.0 * pixels * (kernels + 1)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return keras_gated(tensor, tensor, int(tensor.shape[-1]) // self.ratio, 1, name, seeds)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        return None  # several Keras layers, which `menndl_dask.genome.keras_model.gates` finds

    def suited(self, shape: Shape) -> Layer:
        return self.replaced(ratio=suited_ratio(self.ratio, shape[-1], _RATIOS))
