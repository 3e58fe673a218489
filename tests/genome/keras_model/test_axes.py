"""Models whose layers compute along other axes than genes: those predict the same with the axes moved."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode, read_network
from menndl_dask.genome.layers import Permute
from tests.built_again import assert_same, problem_of, randomise

L = keras.layers
FIRST = {"data_format": "channels_first"}


def _classes(image: Any, tensor: Any) -> keras.Model:
    return keras.Model(image, L.Dense(3, activation="softmax")(tensor))


def _residual(first: bool) -> keras.Model:
    """Return the same network with the channels first or last.

    The width is not the number of kernels: Keras 3.15 adds a bias along the width then.
    """
    form, axis = (FIRST, 1) if first else ({}, -1)
    spatial = [2, 3] if first else [1, 2]
    image = keras.Input((3, 10, 14) if first else (10, 14, 3))
    tensor = L.PReLU(shared_axes=spatial)(L.BatchNormalization(axis)(L.Conv2D(8, 3, padding="same", **form)(image)))
    around = L.ReLU()(L.LayerNormalization(axis=axis)(L.DepthwiseConv2D(3, padding="same", **form)(tensor)))
    gate = L.Conv2D(8, 1, activation="sigmoid", **form)(L.GlobalAveragePooling2D(keepdims=True, **form)(around))
    tensor = L.Concatenate(axis)([tensor + around * gate, around])
    tensor = L.MaxPooling2D((2, 1), **form)(L.SpatialDropout2D(0.1, **form)(tensor))
    return _classes(image, L.Flatten(**form)(tensor))


def _odd(shape: tuple[int, ...] = (2, 6, 8)) -> keras.Model:
    """Return a model with layers that do not know that the channels come first."""
    image = keras.Input(shape)
    tensor = L.Conv2D(4, 3, activation="relu", **FIRST)(L.Rescaling(0.5)(image))
    tensor = L.LayerNormalization(axis=2)(L.Dense(5)(tensor))  # rows, and along columns
    tensor = L.Activation("softmax")(L.Reshape((4, 5, 4))(tensor))
    return _classes(image, L.Flatten()(tensor))


@pytest.mark.parametrize("model", [_residual(first=True), _odd()])
def test_a_model_with_the_channels_first_predicts_the_same(model: keras.Model) -> None:
    randomise(model)
    encoded = read_network(model, weights=True)
    assert "(Conv2D): the model reads images with the channels first" in encoded.notes[0]
    shape = tuple(model.input_shape[1:])
    of = problem_of(keras.Sequential([keras.Input((*shape[1:], shape[0])), L.Flatten(), L.Dense(3)]), encoded)
    again = decode(encoded.genome, of, weights=encoded.weights)
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected, found = model(images, training=False), again(np.moveaxis(images, 1, -1), training=False)
    assert np.std(expected) > 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_network_with_the_channels_first_is_the_same_genome() -> None:
    genome = encode(_residual(first=True))
    assert genome == encode(_residual(first=False))
    assert not any(isinstance(layer, Permute) for layer in genome.layers)


@pytest.mark.parametrize(
    "layer",
    [
        L.BatchNormalization(axis=1),
        L.LayerNormalization(axis=[2]),
        L.Softmax(axis=2),
    ],
)
def test_a_layer_along_another_axis_reads_that_one_last(layer: Any) -> None:
    image = keras.Input((6, 8, 3))
    tensor = layer(L.Conv2D(4, 3, padding="same")(image))
    encoded = assert_same(_classes(image, L.GlobalMaxPooling2D()(tensor)))
    assert sum(isinstance(gene, Permute) for gene in encoded.genome.layers) == 2


def test_pixels_are_concatenated() -> None:
    image = keras.Input((6, 8, 3))
    one, other = (L.Conv2D(4, size, padding="same")(image) for size in (3, 5))
    tensor = L.Concatenate(axis=2)([one, L.Concatenate(axis=1)([one, other])[:, 3:9]])
    assert not assert_same(_classes(image, L.GlobalMaxPooling2D()(tensor))).notes
