"""Cost without Keras, against Keras's shapes and weights, a table worked by hand, TensorFlow's counter, a training."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    AttentionGate,
    Convolution,
    DepthwiseConvolution,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Pooling,
    SeparableConvolution,
    SqueezeExcitation,
    TransposedConvolution,
    Upsampling,
)
from menndl_dask.genome.shape import joined_shape, walk
from menndl_dask.problem import Problem
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests import standard_networks
from tests.examples import examples
from tests.kinds import EXTRA
from tests.problems import PROBLEMS, problem

_FLOPS_TOLERANCE = 0.15  # of TensorFlow's count: it leaves out activations and pads for dilated kernels
_MEMORY_FACTOR = 2.5  # between the estimate and what a training takes


def _layers_built(model: keras.Model) -> dict[int, tuple[int, ...]]:
    """Return the output shape of each genome's layer as Keras has it, by its number in the genome."""
    found = {}
    for layer in model.layers:
        if layer.name.startswith("layer"):
            found[int(layer.name.removeprefix("layer").split("_")[0])] = tuple(layer.output.shape[1:])
    return found


@examples(25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PROBLEMS)))
def test_shapes_and_weights_are_those_of_keras_layer_by_layer(seed: int, name: str) -> None:
    space = SearchSpace.image(PROBLEMS[name], maximum=9, max_parameters=2e5, extra=EXTRA)
    genome = space.sample(np.random.default_rng(seed))
    model = decode(genome, PROBLEMS[name])
    cost = cost_of(genome, PROBLEMS[name])
    built = _layers_built(model)
    assert built == {i: cost.layers[i].shape for i in built}
    assert tuple(model.output_shape[1:]) == cost.layers[-1].shape
    assert model.count_params() == cost.parameters
    for i in range(len(genome.canonical().layers)):
        parts = [layer for layer in model.layers if layer.name.split("_")[0] == f"layer{i}"]
        assert sum(part.count_params() for part in parts) == cost.layers[i].parameters


LE_NET_5 = (
    # values of the output, weights read for each of them, values put out again by bias and activation
    ("Convolution", 28 * 28 * 6, 5 * 5 * 1),
    ("Pooling", 14 * 14 * 6, 0),
    ("Convolution", 10 * 10 * 16, 5 * 5 * 6),
    ("Pooling", 5 * 5 * 16, 0),
    ("FullyConnected", 120, 5 * 5 * 16),
    ("FullyConnected", 84, 120),
    ("Head", 10, 84),
)


def test_the_flops_of_lenet_5_are_those_of_a_table_worked_by_hand() -> None:
    model, task, outputs = standard_networks.le_net_5()
    cost = cost_of(encode(model), problem(task, ((32, 32, 1),), outputs))
    for layer, (name, values, weights) in zip(cost.layers, LE_NET_5, strict=True):
        # an average over 2×2 pixels is four FLOPs; each weight is a multiplication and an addition; bias and activation
        expected = 4 * values if name == "Pooling" else 2 * weights * values + 2 * values
        assert (layer.name, math.prod(layer.shape), layer.flops_forward) == (name, values, expected)
    multiplications = sum(values * weights for _, values, weights in LE_NET_5)
    assert multiplications == 416_520  # the number in the literature
    assert cost.parameters == 61_706
    for number, (layer, (name, values, weights)) in enumerate(zip(cost.layers, LE_NET_5, strict=True)):
        products = 2 * weights * values
        by_weights = 0 if name == "Pooling" else products + 2 * values
        # the products once more, or the spread of a mean; but no gradient with respect to the image
        by_inputs = 0 if number == 0 else 4 * values if name == "Pooling" else products
        assert (layer.flops_weights, layer.flops_inputs) == (by_weights, by_inputs)


def _counted_by_tensorflow(model: keras.Model) -> float:
    specs = [tf.TensorSpec((1, *given.shape[1:]), "float32") for given in model.inputs]
    traced = tf.function(lambda *views: model(views if len(views) > 1 else views[0], training=False))
    graph = traced.get_concrete_function(*specs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    )
    return float(tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops)


def _check_against_tensorflow(genome: Genome, of: Problem) -> None:
    counted = _counted_by_tensorflow(decode(genome, of))
    assert cost_of(genome, of).flops_forward == pytest.approx(counted, rel=_FLOPS_TOLERANCE)


@pytest.mark.parametrize("name", standard_networks.NETWORKS)
def test_the_flops_of_well_known_networks_are_those_that_tensorflow_counts(name: str) -> None:
    model, task, outputs = standard_networks.NETWORKS[name]()
    _check_against_tensorflow(encode(model), problem(task, (tuple(model.input_shape[1:]),), outputs))


def test_a_convolution_in_groups_multiplies_less_in_proportion() -> None:
    # TensorFlow compiles it on a CPU, so that its profiler does not see the operation
    shape, kernels = (20, 24, 8), 24
    end = 20 * 24 * kernels * 2  # bias and activation
    whole, grouped = (Convolution(kernels, groups=groups).forward_flops(shape) for groups in (1, 4))
    assert grouped - end == (whole - end) / 4 == 2 * 9 * (8 // 4) * kernels * 20 * 24


@pytest.mark.parametrize(
    "layer",
    [
        Convolution(24, (3, 5), stride=(2, 1), padding="valid"),
        DepthwiseConvolution((5,), multiplier=2),
        SeparableConvolution(24, (3,), multiplier=2),
        TransposedConvolution(16, (3,), (2,)),
        FullyConnected(64),
        SqueezeExcitation(4),
        AttentionGate(2),
        Pooling((3,), (2,), "average"),
        Pooling((3, 2), (2, 1), "max", "valid"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_flops_of_each_kind_of_layer_are_those_that_tensorflow_counts(layer: Layer) -> None:
    image = keras.Input((20, 24, 8))
    counted = _counted_by_tensorflow(keras.Model(image, layer.build(image, "layer0", lambda: 0)))
    assert layer.forward_flops((20, 24, 8)) == pytest.approx(counted, rel=_FLOPS_TOLERANCE)


_TRAINING = """
import pathlib, re
import numpy as np
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution
from tests.problems import problem

def train(genome, of, batch):
    model = decode(genome, of)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    images = np.zeros((batch, *of.facts.input_shapes[0]), "float32")
    model.train_on_batch(images, np.zeros(batch, int))
    # not ru_maxrss, which a new program takes over from the process that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024

before = train(Genome((Convolution(4),)), problem(shapes=((8, 8, 1),)), 4)  # what the framework takes anyway
of = problem(shapes=((64, 64, 1),))
plain = Convolution(16, normalisation="batch")
genome = Genome((plain, plain, plain, Activation("relu", inputs=(1, 3), join="add"), Convolution(64, (1,)), plain))
print((train(genome, of, 40) - before) / cost_of(genome, of).memory_bytes(40))
"""


def test_a_training_takes_about_the_memory_that_was_estimated() -> None:
    ratio = float(_run(_TRAINING))
    assert 1 / _MEMORY_FACTOR < ratio < _MEMORY_FACTOR


def test_cost_is_computed_without_keras() -> None:
    code = (
        "import sys; import numpy as np\n"
        "from menndl_dask import SearchSpace, cost_of; from tests.problems import problem\n"
        "of = problem(); genome = SearchSpace.image(of).sample(np.random.default_rng(0))\n"
        "print(cost_of(genome, of).parameters, *{'keras', 'tensorflow', 'jax', 'torch'} & {*sys.modules})"
    )
    assert _run(code).strip().isdigit()


def _run(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=400)
    return done.stdout


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Convolution(4, (9,), padding="valid"),) * 2, r"layer 1 \(Convolution\): expected a window that fits into 8"),
        ((Convolution(4, stride=(2,), dilation=(2,)),), "a stride and a dilation larger than 1 exclude each other"),
        ((Convolution(4, (3, 5, 3)),), r"layer 0 \(Convolution\): expected 1 or 2 values, one for each axis"),
        ((DepthwiseConvolution(stride=(1, 2)),), "expected the same stride on all axes"),
        ((GlobalPooling("max"), Convolution(4)), r"layer 1 \(Convolution\): expected an image, got 1 features"),
        ((Convolution(4), Convolution(8), Activation(inputs=(1, 2), join="add")), "expected equal shapes to add"),
        ((Convolution(4, stride=(2,)), Activation("relu", inputs=(1, 2))), "expected equal sizes to concatenate"),
        ((Convolution(4, inputs=(2,)),), "expected an input among 1 views and the layers before, got view 1"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_with_the_layer_named(
    layers: tuple[Layer, ...], message: str
) -> None:
    with pytest.raises(InfeasibleError, match=message):
        cost_of(Genome(layers), problem())
    with pytest.raises(InfeasibleError, match=message):
        decode(Genome(layers), problem())


@pytest.mark.parametrize(
    ("of", "layers", "message"),
    [
        (problem("segmentation"), (FullyConnected(8),), "head: expected an image, got 8 features"),
        (problem("segmentation"), (Upsampling((2,)),), r"head: expected an image of at most \(16, 16\) pixels"),
        (problem(shapes=((8, 8, 8, 1),)), (SeparableConvolution(),), "exists for images of 1 or 2 axes, got 3"),
        (problem(shapes=((8, 1),)), (Upsampling((2,), "bilinear"),), "bilinear interpolation exists for 2-D images"),
    ],
)
def test_a_network_that_does_not_suit_the_problem_is_refused(
    of: Problem, layers: tuple[Layer, ...], message: str
) -> None:
    with pytest.raises(InfeasibleError, match=message):
        cost_of(Genome(layers), of)


def test_memory_grows_with_the_batch_and_with_the_weights() -> None:
    small, large = (cost_of(Genome((Convolution(8), FullyConnected(units))), problem()) for units in (8, 800))
    assert small.memory_bytes(64) > small.memory_bytes(32) > 0
    # weights, their gradients and the two moments of Adam
    weights = 4 * 4 * (large.parameters - small.parameters)
    assert large.memory_bytes(1) - small.memory_bytes(1) == pytest.approx(weights, rel=0.01)


def test_an_addition_costs_one_flop_a_value() -> None:
    branches = [Convolution(8), Convolution(8, inputs=(2,))]
    added = cost_of(Genome((*branches, Activation("relu", inputs=(1, 2), join="add"))), problem())
    assert added.layers[2].flops_forward == 2 * 16 * 16 * 8


def test_inputs_are_joined_along_the_channels() -> None:
    assert joined_shape(Activation(), [(8, 8, 3), (8, 8, 4)]) == (8, 8, 7)
    assert joined_shape(Activation(join="add"), [(8, 8, 3), (8, 8, 3)]) == (8, 8, 3)
    genome = Genome((Convolution(4), Flatten()))
    assert [after for _, _, _, after in walk(genome, [(8, 8, 1)])] == [(8, 8, 4), (256,)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_layer_and_the_head_are_in_the_list(name: str) -> None:
    _, genome = standard_network(PROBLEMS[name])
    cost = cost_of(genome, PROBLEMS[name])
    assert [layer.name for layer in cost.layers[: len(genome.layers)]] == [type(g).__name__ for g in genome.layers]
    assert [layer.name for layer in cost.layers].count("Head") == 1
    assert cost.parameters == sum(layer.parameters for layer in cost.layers)
    assert all(layer.flops_weights >= layer.flops_forward > 0 for layer in cost.layers if layer.parameters)
    assert all(layer.flops_weights == 0 for layer in cost.layers if not layer.parameters)
    assert cost.flops_training > 2 * cost.flops_forward
