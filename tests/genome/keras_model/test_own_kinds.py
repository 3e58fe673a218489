"""A user's own gene kinds in a Keras model: of one layer or of several, with a method `read` and without."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest

from menndl_dask.errors import GenomeError, UserError
from menndl_dask.genome import gene
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import choice, integer, real
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Convolution, Dropout
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

OF = problem("classification", ((8, 8, 2),))
Shape = tuple[int, ...]


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the kinds of a test at its end: others read models in which they would be found."""
    monkeypatch.setattr(gene, "_KINDS", dict(gene._KINDS))


class Plain(Layer):
    """What the kinds of these tests have in common."""

    __slots__ = ()

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 0

    def forward_flops(self, shape: Shape) -> float:
        return float(math.prod(shape))


def composed() -> type[Layer]:
    """Return a kind that builds several layers of Keras, and has no method `read`."""

    @dataclass(frozen=True, slots=True)
    class Weighing(Plain):
        ratio: int = choice(2, 4)
        pooled: bool = choice(False, True)

        def parameter_count(self, shape: Shape) -> int:
            few = shape[-1] // self.ratio
            return 2 * shape[-1] * few + shape[-1] + few

        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            first = keras.initializers.HeNormal(seed=seeds())
            pooling = keras.layers.GlobalMaxPooling2D if self.pooled else keras.layers.GlobalAveragePooling2D
            few = keras.layers.Dense(tensor.shape[-1] // self.ratio, "relu", kernel_initializer=first)
            gate = keras.layers.Dense(tensor.shape[-1], "sigmoid", name=f"{name}_gate")
            return tensor * gate(few(pooling(keepdims=True, name=f"{name}_pooling")(tensor)))

    return Weighing


def test_a_kind_of_several_layers_without_read_goes_to_keras_and_back() -> None:
    kind = composed()
    genes = (
        Convolution(8), kind(ratio=4), Dropout(0.2), kind(pooled=True, inputs=(1, 3), join="add"),
        kind(inputs=(1, 4)), Convolution(4),
    )  # fmt: skip
    genome = Genome(genes)
    model = decode(genome, OF)
    assert encode(model) == genome
    assert cost_of(genome, OF).parameters == model.count_params()
    assert kind in SearchSpace.image(OF, extra=[kind]).kinds


def test_layers_of_a_kind_that_are_read_elsewhere_too_or_set_otherwise_are_not_its_gene() -> None:
    kind = composed()
    image = keras.Input((8, 8, 2))
    for activation, read_again in (("tanh", False), ("relu", True)):
        tensor = keras.layers.Conv2D(8, 3)(image)
        few = keras.layers.Dense(2, activation)(keras.layers.GlobalAveragePooling2D(keepdims=True)(tensor))
        gated = tensor * keras.layers.Dense(8, "sigmoid")(few)
        end = keras.layers.Concatenate()([gated, keras.layers.UpSampling2D(6)(few)]) if read_again else gated
        genome = encode(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(end))))
        assert kind not in map(type, genome.layers)


def test_a_kind_whose_read_gives_its_gene_from_the_last_of_several_layers() -> None:
    @dataclass(frozen=True, slots=True)
    class Shaken(Plain):
        amount: float = real(0.0, 1.0)

        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            tensor = keras.layers.GaussianNoise(self.amount, seed=seeds(), name=f"{name}_noise")(tensor)
            return keras.layers.SpatialDropout2D(self.amount / 2, seed=seeds(), name=name)(tensor)

        @classmethod
        def read(cls, layer: Any) -> Any:
            return cls(2 * layer.rate) if type(layer).__name__ == "SpatialDropout2D" else None

    genome = Genome((Convolution(8), Shaken(0.25), Convolution(4), Shaken(0.5)))
    assert encode(decode(genome, OF)) == genome


def test_a_kind_of_many_settings_needs_the_method_read() -> None:
    @dataclass(frozen=True, slots=True)
    class Wide(Plain):
        width: int = integer(1, 257)

        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            return tensor

    with pytest.raises(UserError, match="gene kind Wide lacks the method read: its fields have 257 settings"):
        SearchSpace.image(OF, extra=[Wide])


def test_what_a_kind_builds_must_come_from_the_tensor_that_it_is_given() -> None:
    @dataclass(frozen=True, slots=True)
    class Elsewhere(Plain):
        def build(self, tensor: Any, name: str, seeds: Callable[[], int]) -> Any:
            return keras.layers.Add()([tensor, keras.Input(tensor.shape[1:])])

    with pytest.raises(GenomeError, match="gene kind Elsewhere: build: expected up to 100 Keras layers that read"):
        decode(Genome((Elsewhere(),)), OF)
