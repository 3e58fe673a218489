"""The graph of a Keras model: models in models, layers that are used again, and what no gene is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.encoder import encode, read_network
from menndl_dask.genome.layers import Convolution
from tests.built_again import assert_same

layers = keras.layers


def _ended(image: Any, tensor: Any) -> keras.Model:
    pooled = layers.GlobalAveragePooling2D()(tensor) if len(tensor.shape) == 4 else tensor
    return keras.Model(image, layers.Dense(3, activation="softmax")(pooled))


def _block(width: int = 6, size: tuple[int | None, int | None] = (8, 8)) -> keras.Model:
    entry = keras.Input((*size, 2))
    return keras.Model(entry, layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3)(entry))))


def test_a_model_in_a_model_is_read_layer_by_layer() -> None:
    image = keras.Input((8, 8, 2))
    expected = assert_same(_ended(image, layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3)(image))))).genome
    for block in (
        _block(),
        _block(size=(None, None)),
        keras.Sequential([_block()]),
        keras.Sequential([keras.Sequential([_block()])]),
    ):
        assert assert_same(_ended(image, block(image))).genome == expected


def test_a_model_in_a_model_may_read_several_tensors() -> None:
    first, second = keras.Input((8, 8, 2), name="first"), keras.Input((8, 8, 2), name="second")
    inner = keras.Model([first, second], layers.Conv2D(4, 3)(first) - layers.Conv2D(4, 3)(second))
    images = [keras.Input((8, 8, 2)), keras.Input((8, 8, 2))]
    plain = assert_same(_ended(images, inner(images))).genome
    assert assert_same(_ended(images, inner({"second": images[1], "first": images[0]}))).genome == plain
    assert assert_same(_ended(images, inner(images[::-1]))).genome != plain


def test_a_layer_that_is_used_again_becomes_two_and_this_is_said() -> None:
    image = keras.Input((8, 8, 2))
    shared, relu = layers.Conv2D(2, 3, padding="same", name="shared"), layers.ReLU()
    encoded = assert_same(_ended(image, relu(shared(relu(shared(image))))))
    assert encoded.genome == Genome((Convolution(2), Convolution(2)))
    assert len(encoded.notes) == 1
    assert "layer 'shared' (Conv2D): it is used again" in encoded.notes[0]


def test_a_model_for_two_images_is_used_twice() -> None:
    images = [keras.Input((8, 8, 2)), keras.Input((8, 8, 2))]
    branch = keras.Sequential([_block(), layers.GlobalMaxPooling2D()])
    assert len(assert_same(_ended(images, layers.Concatenate()(list(map(branch, images))))).notes) == 2


@pytest.mark.parametrize("size", [(None, None), (None, 8)])
def test_images_may_have_any_size(size: tuple[int | None, int | None]) -> None:
    image = keras.Input((*size, 2))
    expected = Genome((Convolution(4, padding="valid", activation="linear"),))
    assert encode(_ended(image, layers.Conv2D(4, 3)(image))) == expected


def test_an_activation_may_be_a_layer_in_a_layer() -> None:
    image = keras.Input((8, 8, 2))
    inner = assert_same(_ended(image, layers.Conv2D(6, 3, activation=layers.LeakyReLU(0.1))(image))).genome
    assert inner == encode(_ended(image, layers.LeakyReLU(0.1)(layers.Conv2D(6, 3)(image))))


@pytest.mark.parametrize("merge", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
def test_every_layer_that_joins_tensors_is_kept(merge: str) -> None:
    image = keras.Input((8, 8, 2))
    branches = [layers.Conv2D(4, size, padding="same")(image) for size in (1, 3)]
    assert_same(_ended(image, layers.Conv2D(3, 3)(getattr(layers, merge)()(branches))))


def test_features_are_joined_with_an_image_as_one_pixel() -> None:
    image = keras.Input((8, 8, 2))
    tensor = layers.Conv2D(4, 3)(image)
    factors = layers.Dense(4, activation="tanh")(layers.GlobalMaxPooling2D()(tensor))
    assert_same(_ended(image, layers.Conv2D(3, 3)(layers.Multiply()([tensor, factors]))))


@pytest.mark.parametrize("merge", ["Add", "Multiply", "Average", "Maximum"])
def test_a_tensor_may_be_read_twice(merge: str) -> None:
    image = keras.Input((8, 8, 2))
    tensor = layers.Conv2D(4, 3)(image)
    assert_same(_ended(image, layers.Conv2D(3, 3)(getattr(layers, merge)()([tensor, tensor]))))


def test_what_normalises_or_changes_images_is_left_out_in_front_only() -> None:
    image = keras.Input((8, 8, 2))
    front = layers.Rescaling(0.5, 1.0)(layers.RandomFlip()(image))
    front = layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 4.0])(front)
    encoded = assert_same(_ended(image, layers.Conv2D(4, 3)(front)))
    assert encoded.genome == Genome((Convolution(4, padding="valid", activation="linear"),))
    assert ["left out" in note for note in encoded.notes] == [True] * 3
    inside = layers.Normalization(mean=1.0, variance=4.0)(layers.Rescaling(0.5)(layers.Conv2D(4, 3)(image)))
    assert not assert_same(_ended(image, layers.Conv2D(4, 3)(inside))).notes
    both = layers.Concatenate()([image, layers.Rescaling(0.5)(image)])
    assert not assert_same(_ended(image, layers.Conv2D(4, 3)(both))).notes


def test_what_training_only_needs_is_left_out_and_said() -> None:
    image = keras.Input((8, 8, 2))
    block = _block()
    block.trainable = False
    tensor = layers.Conv2D(4, 3, kernel_regularizer="l2", name="short")(block(image, training=False))
    notes = "\n".join(read_network(_ended(image, tensor)).notes)
    for expected in (
        "training=False is left out",
        "trainable=False of layer",
        "kernel_regularizer=L2 of layer 'short'",
    ):
        assert expected in notes


class _Own(keras.Model):
    def call(self, tensor: Any) -> Any:
        return tensor


_REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Lambda": (layers.Lambda(lambda x: x, name="odd"), r"'odd' \(Lambda\): a function of your own"),
    "LSTM": (lambda t: layers.LSTM(4, name="odd")(layers.Reshape((64, 2))(t)), r"'odd' \(LSTM\): it goes along a seq"),
    "model": (_Own(name="odd"), r"'odd' \(_Own\): a model with a method call of its own"),
    "training": (lambda t: layers.Dropout(0.1, name="odd")(t, training=True), "'odd' .*argument training=True"),
    "Dot": (lambda t: layers.Dot(1, name="odd")([layers.Flatten()(t)] * 2), r"'odd' \(Dot\): there is no gene"),
    "two tensors": (
        lambda t: layers.MultiHeadAttention(1, 2, name="odd")(t, layers.Conv2D(2, 1)(t)),
        r"'odd' \(MultiHeadAttention\): .* reads several tensors",
    ),
    "in TimeDistributed": (
        layers.TimeDistributed(layers.Conv1D(2, 2, padding="causal", name="odd")),
        r"'odd' \(Conv1D\): there is no gene that applies it to each part of a sequence",
    ),
    "too many axes": (layers.Reshape((2,) * 7 + (1, 1), name="odd"), r"'odd' \(Reshape\): .*target"),
    "augmentation": (
        lambda t: layers.RandomFlip(name="odd")(layers.Conv2D(2, 1)(t)),
        r"'odd' \(RandomFlip\): there is",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_has_no_gene_is_named(name: str) -> None:
    image = keras.Input((8, 8, 2))
    make, message = _REFUSED[name]
    with pytest.raises(GenomeError, match=message) as error:
        encode(_ended(image, make(image)))
    assert len(str(error.value)) <= 500


def test_words_are_no_images() -> None:
    words = keras.Input((8,))
    with pytest.raises(GenomeError, match=r"layer 'odd' \(Embedding\): it reads words"):
        encode(_ended(words, layers.Flatten()(layers.Embedding(5, 2, name="odd")(words))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "expected a Keras model, got NoneType None"),
        ("model.keras", "expected a Keras model, got str 'model.keras'"),
        (keras.Model, "expected a Keras model, got the class Model"),
        (keras.Sequential([layers.Dense(2)]), "expected a built one"),
    ],
)
def test_what_is_no_model_is_refused_in_a_line(model: Any, message: str) -> None:
    with pytest.raises(GenomeError, match=message) as error:
        encode(model)
    assert "\n" not in str(error.value)


def test_several_outputs_are_named() -> None:
    image = keras.Input((8,))
    outputs = [layers.Dense(2, name=name)(image) for name in ("first", "second")]
    with pytest.raises(GenomeError, match="expected one output, got 2: 'first', 'second'"):
        encode(keras.Model(image, outputs))


def test_a_network_like_those_that_people_bring_is_kept() -> None:
    """A block of ConvNeXt, one of MobileNet and one with attention."""
    image = keras.Input((16, 16, 3))
    tensor = keras.Sequential([layers.Conv2D(8, 4, strides=4), layers.LayerNormalization(epsilon=1e-6)])(image)
    branch = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(tensor))
    tensor = tensor + layers.Dense(8)(layers.Dense(32, activation="gelu")(branch))
    branch = layers.ReLU(6.0)(layers.BatchNormalization(scale=False)(layers.Conv2D(16, 1, use_bias=False)(tensor)))
    branch = layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(branch))
    sequence = layers.Reshape((4, 16))(branch)
    tensor = layers.MultiHeadAttention(2, 8)(sequence, sequence) + sequence
    tensor = layers.GlobalAveragePooling1D()(tensor)
    encoded = assert_same(keras.Model(image, layers.Dense(3, activation="softmax")(tensor)))
    assert not encoded.notes
