"""The two-way map between genomes and Keras models."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import GenomeError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import JOINS, Layer
from menndl_dask.genome.layers import (
    Activation,
    AttentionGate,
    Convolution,
    Cropping,
    GlobalPooling,
    Pooling,
    SqueezeExcitation,
    Upsampling,
    ZeroPadding,
)
from menndl_dask.genome.training_gene import Training
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests import standard_networks
from tests.examples import examples
from tests.genomes import in_symbols
from tests.kinds import EXTRA
from tests.problems import PROBLEMS, problem


def _valid_genome(name: str, rng: np.random.Generator) -> Genome:
    """Return a genome of which nothing is known but that it is valid: a repaired mixture of layers, or a random one."""
    space = SearchSpace.image(PROBLEMS[name], maximum=9, max_parameters=1e5, extra=EXTRA)
    layers: list[Layer] = []
    for i in range(int(rng.integers(0, 10))):
        gene = space.sample_gene(space.kinds[rng.integers(len(space.kinds))], rng)
        assert isinstance(gene, Layer)
        offsets = tuple(int(o) for o in rng.integers(1, i + 4, size=rng.integers(1, 4)))
        layers.append(gene.replaced(inputs=offsets, join=JOINS[rng.integers(2)]))
    return space.repair(Genome(tuple(layers)), rng) if rng.random() < 0.6 else space.sample(rng)


@examples(40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PROBLEMS)))
def test_encoding_a_decoded_genome_gives_the_genome_back(seed: int, name: str) -> None:
    genome = _valid_genome(name, np.random.default_rng(seed))
    assert encode(decode(genome, PROBLEMS[name])) == genome


def test_settings_are_not_in_a_model_and_do_not_come_back() -> None:
    genome = SearchSpace.image(problem(), training=True).sample(np.random.default_rng(3))
    assert isinstance(genome.genes[0], Training)
    assert encode(decode(genome, problem())) == Genome(genome.layers)


@pytest.mark.parametrize("layer", [Activation("linear"), GlobalPooling("average"), GlobalPooling("max")], ids=repr)
def test_a_network_that_only_hands_on_the_second_view_comes_back(layer: Layer) -> None:
    genome = Genome((layer.replaced(inputs=(2,)),))
    assert genome != Genome(())
    assert encode(decode(genome, PROBLEMS["two views"])) == genome


def test_an_order_of_concatenation_that_matters_comes_back() -> None:
    branches = [Convolution(4, (size,), inputs=(i + 1,)) for i, size in enumerate((1, 3, 5, 7))]
    joins = [Activation("linear", inputs=(4, 3)), Activation("linear", inputs=(2, 3))]
    for order in ((2, 3), (3, 2)):
        joins[1] = Activation("linear", inputs=order)
        genome = Genome((*branches, *joins, Activation("relu", inputs=(1, 2), join="add")))
        rebuilt = encode(decode(genome, problem()))
        assert rebuilt == genome
        assert in_symbols(rebuilt) == in_symbols(genome)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_standard_network_of_every_problem_can_be_built_and_read_back(name: str) -> None:
    _, genome = standard_network(PROBLEMS[name])
    model = decode(genome, PROBLEMS[name])
    assert encode(model) == genome
    assert model.count_params() == cost_of(genome, PROBLEMS[name]).parameters


_UNWRITTEN = (  # activations, preprocessing and flattening may be layers of their own or not
    keras.layers.InputLayer, keras.layers.Activation, keras.layers.ReLU, keras.layers.Softmax, keras.layers.Flatten,
    keras.layers.Normalization, keras.layers.Rescaling,
)  # fmt: skip


def _layers(model: keras.Model) -> list[tuple[str, tuple[int, ...], int]]:
    """Return the kind, the output shape and the number of parameters of every layer that computes with its input."""
    return sorted(
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
        if not isinstance(layer, _UNWRITTEN)
    )


@pytest.mark.parametrize("name", standard_networks.NETWORKS)
def test_a_well_known_network_keeps_its_shapes_and_weights(name: str) -> None:
    original, task, outputs = standard_networks.NETWORKS[name]()
    genome = encode(original)
    shape = tuple(original.input_shape[1:])
    given = problem(task, (shape,), outputs)
    rebuilt = decode(genome, given)
    assert len(_layers(original)) >= 7
    assert _layers(rebuilt) == _layers(original)
    assert rebuilt.output_shape == original.output_shape
    assert rebuilt.count_params() == original.count_params() == cost_of(genome, given).parameters
    assert encode(rebuilt) == genome


def _classifier(*layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((16, 16, 2)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.UnitNormalization(name="odd"), r"layer 'odd' \(UnitNormalization\): it divides by the length"),
        (keras.layers.LayerNormalization(axis=(1, 2, 3), name="odd"), r"axis=\[1, 2, 3\] has no gene"),
        (keras.layers.BatchNormalization(renorm=True, name="odd"), "renorm=True has no gene"),
        (keras.layers.Softmax(axis=(1, 2), name="odd"), r"axis=\(1, 2\) has no gene"),
        (keras.layers.PReLU(shared_axes=[1], name="odd"), r"shared_axes=\[1\] has no gene"),
        (keras.layers.Conv2D(4, 3, kernel_constraint="max_norm", name="odd"), "kernel_constraint=.* has no gene"),
        (keras.layers.Conv2D(4, 3, activation="glu", name="odd"), "activation='glu' has no gene"),
        (keras.layers.Conv2DTranspose(4, 3, dilation_rate=2, name="odd"), r"dilation_rate=\(2, 2\) has no gene"),
        (keras.layers.Dense(4, kernel_constraint="non_neg", name="odd"), "kernel_constraint=.* has no gene"),
        (keras.layers.Dropout(0.1, (1, 1, 1, 2), name="odd"), "noise_shape=.* has no gene"),
        (keras.layers.Resizing(4, 4, antialias=True, name="odd"), "antialias=True has no gene"),
    ],
)
def test_a_layer_without_a_gene_is_named(layer: keras.Layer, message: str) -> None:
    with pytest.raises(GenomeError, match=message):
        encode(_classifier(layer))


def test_concatenating_a_layer_with_itself_has_no_gene_even_through_one_that_does_nothing() -> None:
    image = keras.Input((8, 8, 1))
    tensor = keras.layers.Conv2D(4, 3)(image)
    joined = keras.layers.Concatenate(name="odd")([tensor, keras.layers.Dropout(0.0)(tensor)])
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(joined)))
    with pytest.raises(GenomeError, match=r"layer 'odd' .*reads the same layer twice"):
        encode(model)


@pytest.mark.parametrize("join", ["add", "concatenate"])
@pytest.mark.parametrize("shape", [(21, 13, 2), (37, 2), (9, 11, 8, 2)])
def test_odd_sizes_are_joined_again_after_they_were_halved(join: str, shape: tuple[int, ...]) -> None:
    joined = Activation("relu", inputs=(1, 4), join=join)
    genome = Genome((Convolution(4), Pooling(), Convolution(4), Upsampling(), joined, Convolution(3)))
    of = problem("segmentation", (shape,))
    model = decode(genome, of)
    assert encode(model) == genome
    assert model.output_shape == (None, *shape[:-1], 3)
    assert model.count_params() == cost_of(genome, of).parameters


@pytest.mark.parametrize("last", [Upsampling(), ZeroPadding((0,), (1,))], ids=repr)
def test_a_network_whose_output_is_one_pixel_larger_than_the_image_is_read_back(last: Layer) -> None:
    genome = Genome((Pooling(), Convolution(4), last) if isinstance(last, Upsampling) else (Convolution(4), last))
    assert encode(decode(genome, problem("segmentation", ((9, 7, 2),), 3))) == genome


@pytest.mark.parametrize(("cropping", "kept"), [((1, 0), True), ((0, 3), True), ((0, 1), False)])
def test_only_the_last_pixel_is_cropped_where_layers_are_joined(cropping: tuple[int, int], kept: bool) -> None:
    image = keras.Input((16, 2))
    short = keras.layers.Conv1D(4, 1 + sum(cropping))(image)
    joined = keras.layers.Concatenate()([keras.layers.Cropping1D(cropping, name="odd")(image), short])
    genome = encode(keras.Model(image, keras.layers.Conv1D(2, 1)(joined)))
    crops = [layer for layer in genome.layers if isinstance(layer, Cropping)]
    assert crops == ([Cropping(cropping[:1], cropping[1:], inputs=crops[0].inputs)] if kept else [])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
def test_a_saved_model_needs_none_of_our_classes_and_is_the_same_genome(tmp_path: Path) -> None:
    genome = Genome(
        (
            Convolution(8, groups=2, normalisation="instance"),
            SqueezeExcitation(4),
            Pooling(),
            Convolution(8, normalisation="group"),
            Upsampling(),
            AttentionGate(2, inputs=(1, 4)),  # one of them is cropped
            Convolution(4),
        )
    )
    of = problem("segmentation", ((21, 13, 2),))
    model = decode(genome, of)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert encode(loaded) == genome
    images = np.random.default_rng(0).normal(size=(2, 21, 13, 2)).astype("float32")
    np.testing.assert_allclose(np.asarray(loaded(images)), np.asarray(model(images)), atol=1e-6)


def test_a_linear_model_is_an_empty_genome() -> None:
    image = keras.Input((8,))
    assert encode(keras.Model(image, keras.layers.Dense(2)(image))) == Genome(())


def test_a_network_may_leave_a_view_unread() -> None:
    two = PROBLEMS["two views"]
    model = decode(Genome((Convolution(4),)), two)
    images = [np.zeros((2, *shape), "float32") for shape in two.facts.input_shapes]
    assert model(images).shape == (2, 3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_model_that_computes_with_16_bits_is_the_same_genome(precision: str) -> None:
    of = problem("segmentation", ((32, 32, 2),))
    _, genome = standard_network(of)
    assert encode(decode(genome, of, precision=precision)) == encode(decode(genome, of))


def test_the_pixel_by_which_a_network_is_larger_than_the_image_is_left_out_by_the_head() -> None:
    genome = Genome((Convolution(8), Pooling(), Convolution(8), Upsampling(), Convolution(4)))
    assert encode(decode(genome, problem("segmentation", ((21, 13, 1),)))) == genome
