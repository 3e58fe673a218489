"""The weights of a network come along with its genome."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Convolution
from tests.built_again import assert_same, randomise
from tests.problems import problem

layers = keras.layers


def _branches(order: tuple[int, ...]) -> keras.Model:
    """Return a model that concatenates four branches in an order, and adds tensors whose channels lie in that order."""
    image = keras.Input((8, 8, 2))
    found = [layers.Conv2D(width, size, padding="same")(image) for width, size in ((2, 1), (3, 3), (4, 5), (2, 3))]
    tensor = layers.Concatenate()([found[i] for i in order])
    tensor = layers.BatchNormalization()(tensor) + layers.Conv2D(11, 3, padding="same")(tensor)
    tensor = layers.Concatenate()([layers.DepthwiseConv2D(3, padding="same")(tensor), found[order[0]]])
    return keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(tensor))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_the_order_of_channels_is_that_of_the_weights(order: tuple[int, ...]) -> None:
    assert_same(_branches(order))


def test_there_are_arrays_for_each_layer_of_the_genome() -> None:
    image = keras.Input((8, 8, 2))
    tensor = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(4, 3)(image)))
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(tensor))))
    genome, weights = encode(model, weights=True)
    assert [[array.shape for array in arrays] for arrays in weights.layers] == [[(3, 3, 2, 4), *[(4,)] * 5], []]
    assert weights.head is not None
    assert [array.shape for array in weights.head] == [(4, 3), (3,)]
    assert len(genome.layers) == 2


def test_the_head_keeps_its_initial_weights_for_another_number_of_classes() -> None:
    image = keras.Input((8, 8, 1))
    tensor = layers.Conv2D(4, 3, activation="relu")(image)
    model = keras.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(tensor)))
    randomise(model)
    genome, weights = encode(model, weights=True)
    made = decode(genome, problem(shapes=((8, 8, 1),), outputs=3), 7, weights=weights)
    plain = decode(genome, problem(shapes=((8, 8, 1),), outputs=3), 7)
    kernels = [each.get_layer("head").kernel.numpy() for each in (made, plain)]
    np.testing.assert_array_equal(*kernels)
    np.testing.assert_array_equal(made.get_layer("layer0").kernel.numpy(), weights.layers[0][0])


def test_weights_of_another_genome_are_refused() -> None:
    image = keras.Input((8, 8, 1))
    genome, weights = encode(keras.Model(image, layers.Conv2D(3, 1)(layers.Conv2D(4, 3)(image))), weights=True)
    of = problem("segmentation", ((8, 8, 1),))
    with pytest.raises(GenomeError, match="weights: expected those of a genome of 2 layers, got those of 1"):
        decode(Genome((Convolution(4), Convolution(4))), of, weights=weights)
    with pytest.raises(GenomeError, match=r"weights: layers: 0: expected arrays of the shapes .*, got"):
        decode(Genome((Convolution(5),)), of, weights=weights)
    wrong = replace(weights, orders=((0, 1),))
    with pytest.raises(GenomeError, match=r"weights: orders: 0: expected"):
        decode(genome, of, weights=wrong)


def test_16_bit_numbers_take_the_weights_too() -> None:
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(layers.Conv2D(4, 3, padding="same")(image)))
    genome, weights = encode(model, weights=True)
    coarse = decode(genome, problem("segmentation", ((8, 8, 1),)), precision="bfloat16", weights=weights)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(np.asarray(coarse(images)), np.asarray(model(images)), atol=0.05)
