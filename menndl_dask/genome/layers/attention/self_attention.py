"""Self-attention over pixels, and their learnt positions. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.genome.domain import Integer, Maybe, choice, real, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import FLAG, RATE, WIDTH
from menndl_dask.genome.layers.common.keras_settings import is_exactly, rank_of, unsupported
from menndl_dask.genome.layers.common.submodel import as_model, constants_of, is_made_by
from menndl_dask.genome.layers.common.window import any_pixel, image_size


@dataclass(frozen=True, slots=True)
class SelfAttention(Layer):
    """Each pixel becomes a weighted mean over all pixels, by their likeness; Vaswani et al. 2017, arXiv:1706.03762.

    In Keras: ``MultiHeadAttention`` that reads one tensor as query, key and value.

    Parameters
    ----------
    heads
        Number of means.
    key_size
        Numbers for each pixel and head that say how alike two pixels are.
    value_size
        Numbers for each pixel and head of which there are means. None: as many.
    bias
        Whether there are weights that are added.
    rate
        Share of the weights of the means that are set to zero while training.
    """

    channels: ClassVar[str] = "mixed"
    drawn_title: ClassVar[str] = "Self-attention"

    heads: int = choice(1, 2, 4, 8, default=4, valid=Integer(1, 1024))
    key_size: int = choice(8, 16, 32, 64, default=16, valid=WIDTH)
    value_size: int | None = setting(Maybe(WIDTH), None)
    bias: bool = setting(FLAG, True)
    rate: float = real(0.0, 0.5, valid=RATE)

    def output_shape(self, shape: Shape) -> Shape:
        image_size(shape)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        keys, values = self._widths()
        return shape[-1] * (2 * keys + 2 * values) + self.bias * (2 * keys + values + shape[-1])

    def forward_flops(self, shape: Shape) -> float:
        pixels, (keys, values) = math.prod(shape[:-1]), self._widths()
        biases = pixels * (2.0 * keys + values + shape[-1]) * self.bias
        weighting = 2.0 * pixels**2 * (keys + values) + 3.0 * self.heads * pixels**2
        return self.input_gradient_flops(shape) + biases + weighting

    def weight_gradient_flops(self, shape: Shape) -> float:
        pixels, (keys, values) = math.prod(shape[:-1]), self._widths()
        # likeness and means are products of two tensors that both depend on weights: a gradient by each
        return self.forward_flops(shape) + 2.0 * pixels**2 * (keys + values)

    def input_gradient_flops(self, shape: Shape) -> float:
        return 4.0 * math.prod(shape) * sum(self._widths())

    def kept_values(self, shape: Shape) -> int:
        keys, values = self._widths()
        pixels = math.prod(shape[:-1])
        return pixels * (2 * keys + 2 * values + shape[-1]) + 2 * self.heads * pixels**2

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        layer = keras.layers.MultiHeadAttention(
            self.heads,
            self.key_size,
            self.value_size,
            dropout=self.rate,
            use_bias=self.bias,
            kernel_initializer=keras.initializers.GlorotUniform(seed=seeds()),
            seed=seeds(),
            name=name,
        )
        return layer(tensor, tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        if not is_exactly(layer, "MultiHeadAttention"):
            return None
        config = layer.get_config()
        read = layer.input if isinstance(layer.input, list) else [layer.input]
        width = int(read[0].shape[-1])
        if config["output_shape"] not in (None, width, (width,), [width]):
            raise unsupported(layer, f"output_shape={config['output_shape']!r} has no gene")
        heads, keys, values = config["num_heads"], config["key_dim"], config["value_dim"]
        return cls(heads, keys, None if values == keys else values, config["use_bias"], float(config["dropout"]))

    def simplified(self) -> Layer:
        return self.replaced(value_size=None) if self.value_size == self.key_size else self

    def reads_whole_image(self, shape: Shape) -> bool:
        return True

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        return any_pixel(spatial)

    def _widths(self) -> tuple[int, int]:
        return self.heads * self.key_size, self.heads * (self.value_size or self.key_size)


@dataclass(frozen=True, slots=True)
class PositionalEmbedding(Layer):
    """Add to each value a learnt number that belongs to its place; Dosovitskiy et al. 2021, arXiv:2010.11929.

    In Keras: a model in the model, with an ``Embedding`` of the numbers of the pixels.
    """

    drawn_title: ClassVar[str] = "Positions"

    def output_shape(self, shape: Shape) -> Shape:
        image_size(shape)
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return math.prod(shape)

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))

    def input_gradient_flops(self, shape: Shape) -> float:
        return 0.0  # it is that by the outputs

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        seed = seeds()
        return as_model(tensor, name, lambda start: _with_positions(start, seed))

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        made = any(name == "Embedding" for name, _ in constants_of(layer))
        return cls() if made and is_made_by(layer, _with_positions) else None


def _with_positions(tensor: Any, seed: int = 0) -> Any:
    import keras

    spatial, channels = [int(n) for n in tensor.shape[1:-1]], int(tensor.shape[-1])
    first = keras.initializers.RandomNormal(stddev=0.02, seed=seed)
    ones = keras.ops.ones_like(tensor[..., 0], dtype="int32")
    if rank_of(tensor) > 1:
        ones = keras.ops.reshape(ones, (-1, math.prod(spatial)))
    numbers = keras.ops.cumsum(ones, axis=1) - 1
    positions = keras.layers.Embedding(math.prod(spatial), channels, first)(numbers)
    return tensor + (keras.ops.reshape(positions, (-1, *spatial, channels)) if rank_of(tensor) > 1 else positions)
