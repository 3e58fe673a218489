"""Settings of layers: each is kept from Keras to the gene and back, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.errors import GenomeError, InfeasibleError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import JOINS, Layer
from menndl_dask.genome.layers import (
    FUNCTIONS,
    KINDS,
    Activation,
    Convolution,
    Normalisation,
    PReLU,
    TransposedConvolution,
    Upsampling,
    ZeroPadding,
)
from menndl_dask.genome.layers.common.keras_settings import check_settings, losses
from tests.problems import problem

SHAPES = {0: (8,), 1: (12, 8), 2: (8, 6, 8), 3: (4, 6, 5, 8)}
L = keras.layers


def gene_of(layer: Any) -> Layer:
    """Return the gene of a Keras layer, all its settings compared."""
    gene = next(found for kind in KINDS if (found := kind.read(layer)) is not None)
    check_settings(gene, layer)
    return gene


def check(shape: tuple[int, ...], expected: Layer, make: Callable[[], Any]) -> None:
    """Check that a Keras layer is read as a gene that predicts the same with the same weights."""
    view = keras.Input(shape)
    theirs = keras.Model(view, make()(view))
    gene = gene_of(theirs.outputs[0]._keras_history.operation)
    assert gene == expected
    assert gene.simplified() == gene
    assert Gene.from_dict(gene.to_dict()) == gene
    again = keras.Input(shape)
    ours = keras.Model(again, gene.build(again, "layer0", lambda: 3))
    assert tuple(ours.outputs[0].shape[1:]) == gene.output_shape(shape) == tuple(theirs.outputs[0].shape[1:])
    assert ours.count_params() == gene.parameter_count(shape) == theirs.count_params()
    rng = np.random.default_rng(0)
    theirs.set_weights([rng.uniform(0.1, 1.0, w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    images = rng.normal(0, 4, (3, *shape)).astype("float32")
    np.testing.assert_allclose(np.asarray(ours(images)), np.asarray(theirs(images)), rtol=1e-5, atol=1e-5)
    assert gene_of(ours.outputs[0]._keras_history.operation) == gene


NORMALISATIONS = [
    (Normalisation("batch"), lambda: L.BatchNormalization(momentum=0.9)),
    (Normalisation("batch", momentum=0.99), L.BatchNormalization),
    (Normalisation("batch", 1.001e-5, 0.999), lambda: L.BatchNormalization(epsilon=1.001e-5, momentum=0.999)),
    (Normalisation("batch", scale=False), lambda: L.BatchNormalization(momentum=0.9, scale=False)),
    (Normalisation("batch", center=False), lambda: L.BatchNormalization(momentum=0.9, center=False)),
    (Normalisation("layer"), L.LayerNormalization),
    (Normalisation("layer", 1e-6, scale=False, center=False),
     lambda: L.LayerNormalization(epsilon=1e-6, scale=False, center=False)),
    (Normalisation("instance"), lambda: L.GroupNormalization(-1, epsilon=1e-5)),
    (Normalisation("instance", 1e-3, center=False), lambda: L.GroupNormalization(8, center=False)),
    (Normalisation("group"), lambda: L.GroupNormalization(2, epsilon=1e-5)),
    (Normalisation("group", 1e-3, groups=4), lambda: L.GroupNormalization(4)),
    (Normalisation("rms"), L.RMSNormalization),
    (Normalisation("rms", 0.1), lambda: L.RMSNormalization(epsilon=0.1)),
]  # fmt: skip


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize(("gene", "make"), NORMALISATIONS)
def test_the_settings_of_a_normalisation_are_kept(gene: Normalisation, make: Callable[[], Any], rank: int) -> None:
    if gene.method != "instance" or rank:
        check(SHAPES[rank], gene, make)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
def test_scaling_of_a_layer_normalisation_is_another_function() -> None:
    check(SHAPES[2], Normalisation("rms_scaling"), lambda: L.LayerNormalization(rms_scaling=True))
    check(SHAPES[2], Normalisation("rms_scaling", 0.5), lambda: L.LayerNormalization(rms_scaling=True, epsilon=0.5))


ACTIVATIONS = [
    (Activation("relu"), L.ReLU),
    (Activation("relu6"), lambda: L.ReLU(6.0)),
    (Activation("relu", ceiling=1.0), lambda: L.ReLU(1.0)),
    (Activation("relu", 0.1, 4.0, 0.5), lambda: L.ReLU(4.0, 0.1, 0.5)),
    (Activation("relu", threshold=0.5), lambda: L.ReLU(threshold=0.5)),
    (Activation("leaky_relu", 0.25), lambda: L.ReLU(negative_slope=0.25)),
    (Activation("leaky_relu", 0.3), L.LeakyReLU),
    (Activation("leaky_relu"), lambda: L.LeakyReLU(0.2)),
    (Activation("elu", 0.5), lambda: L.ELU(0.5)),
    (Activation("elu"), L.ELU),
    (Activation("elu", 2.0), lambda: partial(keras.ops.elu, alpha=2.0)),
    (Activation("celu", 2.0), lambda: partial(keras.ops.celu, alpha=2.0)),
    (Activation("gelu", approximate=True), lambda: keras.ops.gelu),
    (Activation("softmax"), L.Softmax),
    (PReLU("channel"), lambda: lambda t: L.PReLU(shared_axes=list(range(1, len(t.shape) - 1)) or None)(t)),
    (PReLU("single"), lambda: lambda t: L.PReLU(shared_axes=list(range(1, len(t.shape))))(t)),
]  # fmt: skip


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize(("gene", "make"), ACTIVATIONS)
def test_the_settings_of_an_activation_are_kept(gene: Layer, make: Callable[[], Any], rank: int) -> None:
    check(SHAPES[rank], gene, make)


def test_a_slope_for_each_value_is_kept() -> None:
    check(SHAPES[2], PReLU("value"), L.PReLU)
    with pytest.raises(InfeasibleError, match="expected 'channel' for features"):
        PReLU("value").output_shape((8,))
    assert PReLU("value").suited((8,)) == PReLU("channel")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_keras_is_the_function_of_that_name(function: str) -> None:
    view = keras.Input((6, 5))
    if function != "linear":
        check((6, 5), Activation(function), lambda: L.Activation(function))
    model = keras.Model(view, L.Conv1D(4, 3, activation=function)(view))
    assert gene_of(model.layers[-1]) == Convolution(4, padding="valid", activation=function)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (Activation("tanh", slope=0.5, ceiling=3.0), Activation("tanh")),
        (Activation("relu", slope=0.0), Activation("relu")),
        (Activation("leaky_relu", slope=0.0), Activation("relu")),
        (Activation("leaky_relu", ceiling=6.0), Activation("relu", 0.2, 6.0)),
        (Activation("relu", ceiling=6.0), Activation("relu6")),
        (Activation("relu6", slope=0.1), Activation("relu6")),
        (Activation("elu", slope=1.0, approximate=True), Activation("elu")),
        (Normalisation("batch", 1e-3), Normalisation("batch")),
        (Normalisation("layer", momentum=0.5, groups=2), Normalisation("layer")),
        (Normalisation("rms", scale=False, center=False), Normalisation("rms")),
    ],
)
def test_settings_that_make_no_difference_are_left_out(written: Layer, meant: Layer) -> None:
    assert Genome((written, Convolution(4))) == Genome((meant, Convolution(4)))


@pytest.mark.parametrize(
    "own", [Normalisation("batch", 0.1), Normalisation("batch", momentum=0.99), Normalisation("layer", scale=False),
            Normalisation("group", groups=4), Normalisation("rms"), Activation("relu", ceiling=1.0),
            Activation("gelu", approximate=True)], ids=repr,
)  # fmt: skip
def test_only_what_has_no_settings_becomes_part_of_the_layer_before(own: Layer) -> None:
    genome = Genome((Convolution(8, activation="linear"), own))
    assert len(genome.canonical().layers) == 2
    of = problem("segmentation", ((16, 12, 3),))
    model = decode(genome, of)
    assert encode(model) == genome
    assert model.count_params() == cost_of(genome, of).parameters


def test_groups_that_are_written_otherwise_are_refused_and_suited() -> None:
    for groups, message in ((3, "in 3 groups"), (8, "the method 'instance'"), (2, "the groups None")):
        with pytest.raises(InfeasibleError, match=message):
            Normalisation("group", groups=groups).output_shape((8, 8, 8))
        assert Normalisation("group", groups=groups).suited((8, 8, 8)) == Normalisation("group")


def test_what_changes_only_the_training_is_named() -> None:
    view = keras.Input((8, 8, 1))
    tensor = L.Conv2D(4, 3, kernel_regularizer="l2", kernel_initializer="ones")(view)
    layer = keras.Model(view, tensor).layers[-1]
    layer.trainable = False
    assert gene_of(layer) == Convolution(4, padding="valid", activation="linear")
    assert losses(layer) == ["kernel_regularizer=L2", "trainable=False"]


BY_VALUE = [join for join in JOINS if join != "concatenate"]


@pytest.mark.parametrize("join", BY_VALUE)
@pytest.mark.parametrize("small", [(8, 6, 8), (1, 1, 8), (8, 6, 1), (1, 6, 8)])
def test_layers_are_joined_value_by_value_as_in_keras(join: str, small: tuple[int, ...]) -> None:
    of = problem("segmentation", ((8, 6, 8), small))
    genome = Genome((Activation("tanh", inputs=(1, 2), join=join),))
    swapped = Genome((Activation("tanh", inputs=(2, 1), join=join),))
    assert (genome == swapped) == (join != "subtract")
    model = decode(genome, of)
    first, second = keras.Input((8, 6, 8)), keras.Input(small)
    theirs = keras.Model([first, second], getattr(L, join.capitalize())()([first, second]))
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(2, *shape)).astype("float32") for shape in ((8, 6, 8), small)]
    ours = keras.Model(model.inputs, model.get_layer("head").input)
    given = [np.asarray(tensor(image)) for tensor, image in zip(_normalising(model), images, strict=True)]
    np.testing.assert_allclose(np.asarray(ours(images)), np.tanh(np.asarray(theirs(given))), atol=1e-5)
    assert cost_of(genome, of).parameters == model.count_params()


def _normalising(model: keras.Model) -> list[keras.Model]:
    return [keras.Model(view, view._keras_history.operation._outbound_nodes[0].outputs[0]) for view in model.inputs]


def test_joins_of_joins_are_one_join_where_that_is_the_same() -> None:
    def nested(join: str) -> Genome:
        first = [Convolution(4, (k,), inputs=(i + 1,)) for i, k in enumerate((1, 3, 5))]
        inner = Activation("linear", inputs=(2, 3), join=join)
        return Genome((*first, inner, Activation("relu", inputs=(1, 2), join=join)))

    for join, count in (("add", 4), ("multiply", 4), ("maximum", 4), ("average", 5), ("subtract", 5)):
        assert len(nested(join).canonical().layers) == count, join


def test_shapes_that_cannot_be_joined_are_named() -> None:
    genome = Genome((Convolution(4), Convolution(3), Activation("linear", inputs=(1, 2), join="multiply")))
    with pytest.raises(InfeasibleError, match="expected equal shapes to multiply, got"):
        cost_of(genome, problem())
    with pytest.raises(GenomeError, match="join: subtract: expected 2 inputs, got 3"):
        Activation("relu", inputs=(1, 2, 3), join="subtract")


C = {"kind": "Convolution", "kernels": 8}
WRONG = [
    {**C, "kernels": -3}, {**C, "kernels": 0}, {**C, "kernels": 2.5}, {**C, "kernels": 10**9}, {**C, "kernels": True},
    {**C, "kernel_size": [0]}, {**C, "kernel_size": [2.5]}, {**C, "kernel_size": 3}, {**C, "kernel_size": []},
    {**C, "kernel_size": [3, 3, 3, 3]}, {**C, "stride": [-1]}, {**C, "stride": [0]}, {**C, "dilation": [0]},
    {**C, "padding": "reflect"}, {**C, "activation": "rleu"}, {**C, "normalisation": "groups"}, {**C, "bias": 1},
    {**C, "groups": 0}, {"kind": "Dropout", "rate": 1.5}, {"kind": "Dropout", "rate": -0.1},
    {"kind": "Dropout", "rate": float("nan")}, {"kind": "Dropout", "rate": 1}, {"kind": "Pooling", "stride": [0]},
    {"kind": "Pooling", "method": "stochastic"}, {"kind": "GlobalPooling", "method": "min"},
    {"kind": "FullyConnected", "units": -1}, {"kind": "Upsampling", "size": [-2]},
    {"kind": "Upsampling", "interpolation": "cubic"}, {"kind": "DepthwiseConvolution", "multiplier": 0},
    {"kind": "Normalisation", "epsilon": float("inf")}, {"kind": "Normalisation", "method": "batchnorm"},
    {"kind": "SqueezeExcitation", "ratio": 0}, {"kind": "Training", "batch_size": 0},
    {"kind": "Training", "learning_rate": -1.0},
]  # fmt: skip


@pytest.mark.parametrize("data", WRONG, ids=repr)
def test_a_value_that_is_not_valid_is_refused_in_a_line_that_names_it(data: dict[str, Any]) -> None:
    field, value = list(data.items())[-1]
    with pytest.raises(GenomeError, match=rf"^{data['kind']}: {field}: expected .*, got ") as raised:
        Genome.from_dict({"genes": [data]})
    assert len(str(raised.value)) <= 500
    kind = next((kind for kind in KINDS if kind.__name__ == data["kind"]), None)
    if kind is not None:  # the constructor, too
        with pytest.raises(GenomeError, match=field):
            kind(**{field: tuple(value) if isinstance(value, list) else [value] if field == "kernel_size" else value})


def test_a_tensor_that_fits_into_no_memory_is_refused() -> None:
    for gene in (Upsampling((64,)), ZeroPadding((1024,), (1024,)), TransposedConvolution(8, (1,), (64,))):
        with pytest.raises(InfeasibleError, match=r"layer \d+ .*expected a tensor of at most") as raised:
            cost_of(Genome((gene.replaced(),) * 9000), problem("segmentation", ((8, 8, 8, 1),), 2))
        assert len(str(raised.value)) <= 500


def test_a_mistyped_word_is_shown_with_the_nearest_one() -> None:
    with pytest.raises(GenomeError, match="got 'rleu'; did you mean 'relu'"):
        Convolution(activation="rleu")


def test_published_sizes_are_valid_though_no_search_draws_them() -> None:
    genes = [{**C, "kernels": 2048, "kernel_size": [12, 45], "stride": [4]}, {**C, "dilation": [18]}]
    assert len(Genome.from_dict({"genes": genes}).layers) == 2
