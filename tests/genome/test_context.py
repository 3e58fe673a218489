"""The context of a network is what its Keras model looks at: gradients with respect to the image say so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from menndl_dask.genome.context import context, sees_whole_image
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    FullyConnected,
    Pooling,
    TransposedConvolution,
    Upsampling,
)
from menndl_dask.problem import Problem
from menndl_dask.space.standard.standard import standard_network
from tests.problems import PROBLEMS, problem

PLAIN = Convolution(2, activation="linear")
AVERAGE = Pooling(method="average")


def _looked_at(genome: Genome, of: Problem) -> tuple[int, ...]:
    """Return the context of the Keras model of a network, all of whose weights are set to 1."""
    model = decode(genome, of)
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    inner = keras.Model(model.inputs, model.layers[-1].input)  # without the softmax, whose gradient would be zero
    shape = of.facts.input_shapes[0]
    found = []
    for axis, size in enumerate(shape[:-1]):
        places = range(size // 2 - 8, size // 2 + 8)
        images = tf.constant(np.ones((len(places), *shape), "float32"))
        chosen = [(i, *(p if a == axis else n // 2 for a, n in enumerate(shape[:-1])), 0) for i, p in enumerate(places)]
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.gather_nd(inner(images), chosen)
        others = tuple(a + 1 for a in range(len(shape)) if a != axis)
        slopes = np.abs(tape.gradient(value, images).numpy()).sum(others)
        read = [np.flatnonzero(slope) for slope in slopes]
        found.append(max(max(p - int(r[0]), int(r[-1]) - p) for p, r in zip(places, read, strict=True)))
    return tuple(2 * n + 1 for n in found)


@pytest.mark.parametrize(
    "layers",
    [
        (PLAIN,),
        (Convolution(2, (3, 5), activation="linear"), Convolution(2, (2, 4), activation="linear")),
        (Convolution(2, (3,), dilation=(1, 4), activation="linear"), PLAIN),
        (PLAIN, AVERAGE, PLAIN, Upsampling(), PLAIN.replaced(inputs=(1, 4))),
        (PLAIN, Pooling((3,), (2,), "average"), Convolution(2, (5,), (2,), activation="linear")),
        (AVERAGE, PLAIN, TransposedConvolution(2, (3,), (2,), activation="linear")),
        (AVERAGE, PLAIN, Upsampling(interpolation="bilinear"), AVERAGE, TransposedConvolution(2, activation="linear")),
        (Pooling((1, 2), (1, 2), "average"), PLAIN, Upsampling((1, 2))),
        (PLAIN, Convolution(2, (7,), activation="linear", inputs=(2,)), Activation("linear", inputs=(1, 2))),
    ],
    ids=lambda layers: " ".join(type(layer).__name__ for layer in layers),
)
def test_a_network_looks_as_far_as_its_context_and_no_farther(layers: tuple[Layer, ...]) -> None:
    of = problem("segmentation", ((48, 64, 1),))
    assert context(Genome(layers), of) == _looked_at(Genome(layers), of)


def test_lines_and_volumes_have_a_context_too() -> None:
    line, volume = problem("segmentation", ((64, 1),)), problem("segmentation", ((16, 24, 24, 1),))
    assert context(Genome((PLAIN, AVERAGE, PLAIN)), line) == _looked_at(Genome((PLAIN, AVERAGE, PLAIN)), line)
    flat = Genome((PLAIN.replaced(kernel_size=(1, 3, 5)), Pooling((1, 2, 2), (1, 2, 2), "average"), PLAIN))
    assert context(flat, volume) == _looked_at(flat, volume)


@pytest.mark.parametrize("shape", [(49, 51, 1), (50, 53, 1)])
def test_odd_sizes_have_the_context_of_their_padding(shape: tuple[int, ...]) -> None:
    of = problem("segmentation", (shape,))
    strided = Convolution(2, (3,), (2,), activation="linear")
    genome = Genome((PLAIN, strided, PLAIN, Upsampling(), PLAIN.replaced(inputs=(1, 4))))
    assert context(genome, of) == _looked_at(genome, of)


def test_the_context_of_a_u_net_is_that_of_all_its_stages() -> None:
    of = problem("segmentation", ((96, 96, 1),))
    _, genome = standard_network(of)
    assert context(genome, of)[0] > 60


def test_what_has_no_label_for_each_pixel_looks_at_the_whole_image() -> None:
    assert context(Genome((PLAIN,)), problem()) == (16, 16)
    unpadded = Genome((Convolution(2, padding="valid"),))
    assert context(unpadded, problem("segmentation", ((16, 12, 1),))) == (16, 12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_only_what_averages_over_the_image_sees_all_of_it(name: str) -> None:
    of = PROBLEMS[name]
    dense = of.task == "segmentation"
    assert sees_whole_image(Genome((PLAIN,)), of) is not dense
    if not dense:
        assert sees_whole_image(Genome((FullyConnected(4),)), of)
