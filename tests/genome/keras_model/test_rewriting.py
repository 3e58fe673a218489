"""Layers for which others do the same: parts of a sequence, and weights of whole axes."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Convolution, DepthwiseConvolution
from tests.built_again import assert_same

L = keras.layers


def _classes(image: Any, tensor: Any) -> keras.Model:
    return keras.Model(image, L.Dense(3, activation="softmax")(tensor))


def _parts(*layers: Any, shape: tuple[int, ...] = (4, 10, 8, 2)) -> keras.Model:
    image = keras.Input(shape)
    tensor = image
    for layer in layers:
        tensor = L.TimeDistributed(layer)(tensor)
    return _classes(image, L.Flatten()(tensor))


_OF_PARTS: dict[str, list[Any]] = {
    "convolutions": [L.Conv2D(4, (3, 2), 2, "same", use_bias=False), L.BatchNormalization(), L.ReLU(), L.Conv2D(3, 3)],
    "depthwise": [L.DepthwiseConv2D((3, 2), depth_multiplier=2, activation="elu"), L.LayerNormalization(axis=-1)],
    "pooling": [L.MaxPooling2D((2, 1)), L.AveragePooling2D(2, 1, "same"), L.GlobalMaxPooling2D()],
    "borders": [L.ZeroPadding2D(((1, 0), (2, 3))), L.Cropping2D(1), L.Conv2D(3, 3), L.UpSampling2D((1, 2))],
    "features": [L.Flatten(), L.Dense(6, activation="tanh"), L.Dropout(0.1), L.Reshape((2, 3)), L.Conv1D(2, 2)],
    "means": [L.Conv2D(4, 3, dilation_rate=2), L.GlobalAveragePooling2D(keepdims=True), L.Dense(5, activation="relu")],
}


@pytest.mark.parametrize("name", _OF_PARTS)
def test_a_layer_reads_each_part_of_a_sequence(name: str) -> None:
    assert not assert_same(_parts(*_OF_PARTS[name])).notes


def test_the_kernel_of_a_part_has_one_pixel_along_the_sequence() -> None:
    genome = encode(_parts(L.Conv2D(4, 3, activation="relu"), L.DepthwiseConv2D(3)))
    first, second, _ = genome.layers
    assert isinstance(first, Convolution) and isinstance(second, DepthwiseConvolution)
    assert first.kernel_size == second.kernel_size == (1, 3, 3)


def test_a_model_reads_each_part_of_a_sequence() -> None:
    entry = keras.Input((10, 8, 2))
    tensor = L.Conv2D(4, 3, activation="relu")(entry)
    tensor = L.Concatenate()([tensor, L.Add()([tensor, L.Conv2D(4, 3, padding="same")(tensor)])])
    inner = keras.Model(entry, L.GlobalAveragePooling2D()(tensor))
    assert not assert_same(_parts(keras.Sequential([inner, L.Dense(5)]))).notes
    operation = keras.Model(entry, keras.ops.tanh(entry))
    with pytest.raises(GenomeError, match=r"\(Tanh\): there is no gene for this operation within TimeDistributed"):
        encode(_parts(operation))


@pytest.mark.parametrize(
    ("equation", "shape", "bias"),
    [
        ("...c,cd->...d", 5, "d"),
        ("abc,cd->abd", (6, 5), None),
        ("abc,cde->abde", (6, 2, 3), "de"),
    ],
)
def test_weights_of_whole_axes_are_a_dense_layer(equation: str, shape: Any, bias: str | None) -> None:
    image = keras.Input((6, 4))
    layer = L.EinsumDense(equation, shape, bias_axes=bias, activation="gelu", name="odd")
    assert not assert_same(_classes(image, L.Flatten()(layer(image)))).notes


def test_weights_of_several_axes_are_read_together() -> None:
    image = keras.Input((6, 4))
    heads = L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(image)
    joined = L.EinsumDense("abde,def->abf", (None, 4), bias_axes="f")(heads)
    assert_same(_classes(image, L.GlobalMaxPooling1D()(L.Add()([image, joined]))))


@pytest.mark.parametrize("equation", ["abc,bd->adc", "abc,bcd->abd", "abc,dc->abd"])
def test_other_products_are_refused_by_name(equation: str) -> None:
    image = keras.Input((6, 4))
    shape = (5, 4) if equation == "abc,bd->adc" else (6, 5)
    layer = L.EinsumDense(equation, shape, name="odd")
    with pytest.raises(GenomeError, match=r"layer 'odd' \(EinsumDense\): "):
        encode(_classes(image, L.Flatten()(layer(image))))
