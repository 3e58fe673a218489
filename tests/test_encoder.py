"""The two-way map between genomes and Keras models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_dask.baseline import standard_network
from menndl_dask.cost import cost_of
from menndl_dask.decoder import decode
from menndl_dask.encoder import encode
from menndl_dask.errors import GenomeError
from menndl_dask.genome import Genome
from menndl_dask.layer import Convolution
from menndl_dask.space import SearchSpace
from tests import standard_networks
from tests.problems import PROBLEMS, problem


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PROBLEMS)))
def test_encoding_a_decoded_genome_gives_the_genome_back(seed: int, name: str) -> None:
    space = SearchSpace.image(PROBLEMS[name], maximum=9, max_parameters=1e5)
    genome = space.sample(np.random.default_rng(seed))
    model = decode(genome, PROBLEMS[name])
    assert encode(model) == genome
    assert model.count_params() == cost_of(genome, PROBLEMS[name]).parameters


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_standard_network_of_every_problem_can_be_built_and_read_back(name: str) -> None:
    _, genome = standard_network(PROBLEMS[name])
    model = decode(genome, PROBLEMS[name])
    assert encode(model) == genome
    assert model.count_params() == cost_of(genome, PROBLEMS[name]).parameters


def _weight_shapes(model: keras.Model) -> list[tuple[int, ...]]:
    """Return the shapes of all weights, the head's included, in an order that does not depend on names."""
    return sorted(tuple(w.shape) for w in model.weights)


def _output_shapes(model: keras.Model) -> list[tuple[int, ...]]:
    kinds = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.Conv2DTranspose)
    return sorted(tuple(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, kinds))


@pytest.mark.parametrize("name", standard_networks.NETWORKS)
def test_a_well_known_network_keeps_its_shapes_and_weights(name: str) -> None:
    original, task, outputs = standard_networks.NETWORKS[name]()
    genome = encode(original)
    shape = tuple(original.input_shape[1:])
    given = problem(task, (shape,), outputs)
    rebuilt = decode(genome, given)
    assert _weight_shapes(rebuilt) == _weight_shapes(original)
    assert _output_shapes(rebuilt) == _output_shapes(original)
    assert rebuilt.count_params() == original.count_params() == cost_of(genome, given).parameters
    assert encode(rebuilt) == genome


def _classifier(*layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((16, 16, 2)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.SpatialDropout2D(0.1, name="odd"), r"layer 'odd' \(SpatialDropout2D\): there is no gene"),
        (keras.layers.Conv2D(4, 3, groups=2, name="odd"), r"layer 'odd' \(Conv2D\): groups=2 has no gene"),
        (keras.layers.BatchNormalization(scale=False, name="odd"), "scale=False has no gene"),
        (keras.layers.LeakyReLU(0.01, name="odd"), "negative_slope=0.01 has no gene"),
        (keras.layers.ReLU(6.0, name="odd"), "max_value=6.0 has no gene"),
        (keras.layers.Conv2DTranspose(4, 3, padding="valid", name="odd"), "padding='valid' has no gene"),
        (keras.layers.Dense(4, name="odd"), "reads an image pixel by pixel"),
        (keras.layers.UpSampling2D(interpolation="bicubic", name="odd"), "interpolation='bicubic' has no gene"),
        (keras.layers.GlobalMaxPooling2D(keepdims=True, name="odd"), "keepdims=True has no gene"),
    ],
)
def test_a_layer_without_a_gene_is_named(layer: keras.Layer, message: str) -> None:
    with pytest.raises(GenomeError, match=message):
        encode(_classifier(layer))


def test_shared_weights_have_no_gene() -> None:
    first, second = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    shared = keras.layers.Conv2D(4, 3, name="shared")
    joined = keras.layers.Concatenate()([shared(first), shared(second)])
    model = keras.Model([first, second], keras.layers.Dense(2)(keras.layers.Flatten()(joined)))
    with pytest.raises(GenomeError, match=r"layer 'shared' .*used more than once"):
        encode(model)


def test_a_model_without_a_head_is_refused() -> None:
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.MaxPooling2D(name="last")(image))
    with pytest.raises(GenomeError, match=r"layer 'last' .*expected the last layer to be Dense"):
        encode(model)


def test_a_linear_model_is_an_empty_genome() -> None:
    image = keras.Input((8,))
    assert encode(keras.Model(image, keras.layers.Dense(2)(image))) == Genome(())


def test_a_network_may_leave_a_view_unread() -> None:
    two = PROBLEMS["two views"]
    model = decode(Genome((Convolution(4),)), two)
    images = [np.zeros((2, *shape), "float32") for shape in two.facts.input_shapes]
    assert model(images).shape == (2, 3)
