"""The end of a Keras model: left out where `decode` builds the same function, and kept in the genome otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.encoder import read_network
from menndl_dask.genome.layers import Convolution, Flatten, Pooling, Upsampling
from tests.built_again import assert_same

layers = keras.layers
_START = Convolution(6, (3,), activation="linear")
_HALF = Pooling(padding="valid")


def _model(end: Callable[[Any], Any]) -> keras.Model:
    image = keras.Input((8, 8, 2))
    return keras.Model(image, end(layers.Conv2D(6, 3, padding="same")(image)))


def _pooled(tensor: Any) -> Any:
    return layers.GlobalAveragePooling2D()(tensor)


def _up(tensor: Any, interpolation: str) -> Any:
    return layers.UpSampling2D(2, interpolation=interpolation)(layers.Conv2D(3, 1)(layers.MaxPooling2D()(tensor)))


_LEFT_OUT: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "pooling, Dense": (lambda t: layers.Dense(3, activation="softmax")(_pooled(t)), ()),
    "Flatten, Dense": (lambda t: layers.Dense(3, activation="softmax")(layers.Flatten()(t)), (Flatten(),)),
    "Dense, Softmax": (lambda t: layers.Softmax()(layers.Dense(3)(_pooled(t))), ()),
    "convolution, pooling": (lambda t: layers.Activation("softmax")(_pooled(layers.Conv2D(3, 1)(t))), ()),
    "Dense on pixels, pooling": (lambda t: layers.Softmax()(_pooled(layers.Dense(3)(t))), ()),
    "whole convolution": (lambda t: layers.Softmax()(layers.Flatten()(layers.Conv2D(3, 8)(t))), (Flatten(),)),
    "convolution of pixels": (layers.Conv2D(3, 1, activation="softmax"), ()),
    "Dense on pixels": (layers.Dense(3, activation="softmax"), ()),
    "enlarged smoothly": (lambda t: layers.Softmax()(_up(t, "bilinear")), (_HALF,)),
    "enlarged": (lambda t: layers.Softmax()(_up(t, "nearest")), (_HALF, Upsampling())),
    "values": (lambda t: layers.Rescaling(2.0, 1.0)(layers.Dense(2)(_pooled(t))), ()),
    "one class": (lambda t: layers.Dense(1, activation="sigmoid")(_pooled(t)), ()),
    "without bias": (lambda t: layers.Dense(3, activation="softmax", use_bias=False)(_pooled(t)), ()),
}


@pytest.mark.parametrize("name", _LEFT_OUT)
def test_a_head_is_left_out_where_decode_builds_the_same_function(name: str) -> None:
    end, kept = _LEFT_OUT[name]
    assert assert_same(_model(end)).genome == Genome((_START, *kept))


def _keepdims(tensor: Any) -> Any:
    return layers.Dropout(0.1)(layers.GlobalAveragePooling2D(keepdims=True)(tensor))


@pytest.mark.parametrize("last", [layers.Reshape((3,)), layers.Flatten()])
def test_a_convolution_of_the_pooled_image_is_a_head(last: Callable[[Any], Any]) -> None:
    encoded = assert_same(_model(lambda t: layers.Softmax()(last(layers.Conv2D(3, 1)(_keepdims(t))))))
    assert len(encoded.genome) == 3  # with the pooling and the dropout


_KEPT: dict[str, Callable[[Any], Any]] = {
    "SqueezeNet": lambda t: layers.Softmax()(_pooled(layers.Conv2D(3, 1, activation="relu")(t))),
    "largest values": lambda t: layers.Softmax()(layers.GlobalMaxPooling2D()(layers.Conv2D(3, 1)(t))),
    "wide convolution": lambda t: layers.Softmax()(_pooled(layers.Conv2D(3, 3)(t))),
    "transposed convolution": lambda t: layers.Softmax()(
        layers.Conv2DTranspose(3, 4, strides=2, padding="same")(layers.Conv2D(3, 1)(layers.MaxPooling2D()(t)))
    ),
    "normalised": lambda t: layers.Softmax()(layers.LayerNormalization()(layers.Dense(3)(_pooled(t)))),
    "sum of scores": lambda t: layers.Softmax()(layers.Conv2D(3, 1)(t) + layers.Conv2D(3, 3, padding="same")(t)),
    "wide convolution with softmax": layers.Conv2D(3, 3, padding="same", activation="softmax"),
    "no head": lambda t: layers.GlobalMaxPooling2D()(layers.ReLU()(t)),
}


@pytest.mark.parametrize("name", _KEPT)
def test_another_end_stays_in_the_genome_and_this_is_said(name: str) -> None:
    encoded = assert_same(_model(_KEPT[name]))
    assert len(encoded.genome) > 1
    assert any("stays in the genome" in note for note in encoded.notes)


def test_an_answer_that_is_another_function_is_said() -> None:
    image = keras.Input((8,))
    encoded = read_network(keras.Model(image, layers.Dense(2, activation="tanh")(image)))
    assert encoded.genome == Genome(())
    assert encoded.notes == ("the model's answer goes through 'tanh'; that of a network is for its problem",)


def test_an_answer_that_is_not_as_large_as_the_image_is_said() -> None:
    model = _model(lambda t: layers.Conv2D(3, 1, activation="softmax")(layers.MaxPooling2D()(t)))
    expected = "the model's answer has (4, 4) pixels; that of a network has those of the image"
    assert read_network(model).notes == (expected,)
