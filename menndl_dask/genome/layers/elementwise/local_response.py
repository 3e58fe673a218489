"""Local response normalisation. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import Integer, Real, choice, real
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.submodel import as_model, constants_of, is_made_by


@dataclass(frozen=True, slots=True)
class LocalResponseNormalisation(Layer):
    """Divide each value by a power of the sum of squares over neighbouring channels of the same pixel.

    ``x / (bias + alpha * sum) ** beta``; Krizhevsky et al. 2012, doi:10.1145/3065386. Keras has no layer for it: it is
    a model in the model, of Keras's operations. The sum counts as in `tf.nn.local_response_normalization`; Caffe's
    alpha is `alpha` times the number of channels that are summed.

    Parameters
    ----------
    radius
        Channels to each side that count.
    bias, alpha, beta
        As in the formula.
    """

    channels: ClassVar[str] = "fixed"  # neighbours are read
    drawn_title: ClassVar[str] = "Local response"

    radius: int = choice(1, 2, 3, 5, default=2, valid=Integer(1, 64))
    bias: float = real(0.5, 5.0, default=1.0, valid=Real(1e-6, 1e6))
    alpha: float = real(1e-5, 1.0, log=True, default=1e-4, valid=Real(0.0, 1e6))
    beta: float = real(0.25, 1.0, default=0.75, valid=Real(0.0, 100.0))

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return (2.0 * self.radius + 6) * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        return as_model(tensor, name, self.computed)

    def computed(self, tensor: Any) -> Any:
        """Return the normalised values of a Keras tensor."""
        import keras

        count, channels, axes = 2 * self.radius + 1, int(tensor.shape[-1]), len(tensor.shape)
        squares = keras.ops.pad(keras.ops.square(tensor), [[0, 0]] * (axes - 1) + [[self.radius, self.radius]])
        total = squares[..., :channels]
        for first in range(1, count):
            total = total + squares[..., first : first + channels]
        return tensor / keras.ops.power(total * self.alpha + self.bias, self.beta)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        found = dict(constants_of(layer))
        try:  # of each class of operations the last one
            values = [found[name][0] for name in ("Add", "Multiply", "Power")]
            gene = cls(found["GetItem"][0][-1][1] // 2, *map(float, values))
        except (KeyError, IndexError, TypeError, ValueError, GenomeError):
            return None
        return gene if is_made_by(layer, gene.computed) else None
