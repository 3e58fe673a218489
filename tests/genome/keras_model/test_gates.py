"""Gates that were written layer by layer: several layers of Keras are one gene where they do exactly the same."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Activation, AttentionGate, Convolution, SqueezeExcitation

layers = keras.layers


def _encoded(image: Any, tensor: Any) -> Genome:
    return encode(keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(tensor)))


def _gate(image: Any, activation: str = "sigmoid") -> Any:
    return layers.Conv2D(1, 1, activation=activation)(layers.Conv2D(2, 1, activation="relu")(image))


@pytest.mark.parametrize("way", ["dense", "convolutions", "operations"])
def test_squeeze_and_excitation_is_one_gene_however_it_is_written(way: str) -> None:
    image = keras.Input((16, 12, 8))
    if way == "dense":
        means = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(image))
        gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(means))
    else:
        mean = layers.GlobalAveragePooling2D(keepdims=True)
        means = keras.ops.mean(image, (1, 2), keepdims=True) if way == "operations" else mean(image)
        gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="relu")(means))
    product = image * gate if way == "operations" else layers.Multiply()([image, gate])
    assert _encoded(image, product) == Genome((SqueezeExcitation(4),))


def test_an_attention_gate_is_one_gene() -> None:
    image = keras.Input((16, 12, 8))
    assert _encoded(image, layers.Multiply()([_gate(image), image])) == Genome((AttentionGate(4),))


def test_a_gate_that_is_computed_otherwise_is_several_genes() -> None:
    image = keras.Input((16, 12, 8))
    product = layers.Multiply()([image, _gate(image, "hard_sigmoid")])
    squeeze, gate = Convolution(2, (1,)), Convolution(1, (1,), activation="hard_sigmoid")
    assert _encoded(image, product) == Genome((squeeze, gate, Activation("linear", inputs=(3, 1), join="multiply")))


def test_a_gate_whose_numbers_are_read_elsewhere_too_is_several_genes() -> None:
    image = keras.Input((16, 12, 8))
    gate = _gate(image)
    product = layers.Multiply()([image, gate])
    assert not any(
        isinstance(layer, AttentionGate) for layer in _encoded(image, layers.Concatenate()([product, gate])).layers
    )
