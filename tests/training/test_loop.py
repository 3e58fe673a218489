"""The training loops: whichever is chosen, the same steps give the same network."""

from __future__ import annotations

import math
import sys
import time
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from menndl_dask.data.staged_samples import Samples
from menndl_dask.errors import UserError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.layers import Convolution, Dropout, FullyConnected
from menndl_dask.training import loop as loop_module
from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import WholeSamples
from menndl_dask.training.loop import BatchLoop, Loop, make_loop
from menndl_dask.training.loss import Loss
from menndl_dask.training.optimizer import make_optimizer
from menndl_dask.training.tensorflow_loop import GraphLoop
from tests.problems import PROBLEMS, problem

GENOME = Genome((Convolution(4, normalisation="batch"), FullyConnected(8)))
LOOPS = [GraphLoop, BatchLoop]


def _samples(of: Any, count: int = 22) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(count, *shape)).astype("float32") for shape in of.facts.input_shapes]
    labels = rng.integers(0, 3, count).astype("uint8")
    images[0] += labels[:, None, None, None]
    return images, labels


def _source(of: Any) -> WholeSamples:
    images, labels = _samples(of)
    return WholeSamples(Samples(tuple(images), labels), seed=0)


def _loop(kind: Any, of: Any, genome: Genome = GENOME, rate: float = 1e-2) -> tuple[Loop, keras.Model]:
    model = decode(genome, of, seed=3)
    return kind(model, Loss(of), make_optimizer("sgd", rate, 0.0), _source(of), 8), model


def test_both_loops_take_the_same_steps() -> None:
    of = PROBLEMS["two views"]
    two = Genome((Convolution(4, inputs=(2,), normalisation="batch"), FullyConnected(8, inputs=(1,))))
    images, _ = _samples(of)
    orders = [np.random.default_rng(n).permutation(22) for n in range(2)]
    losses, judged = [], []
    for kind in LOOPS:
        loop, model = _loop(kind, of, two)
        losses.append(np.concatenate([loop.run(order, math.inf) for order in orders]))
        judged.append(loop.predict(images))
        assert not model.compiled  # so that it is saved without our loss
    assert len(losses[0]) == 6  # two epochs of 8, 8 and 6 samples
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(judged[0], judged[1], rtol=1e-3, atol=1e-5)


def test_graphs_are_called_with_arguments_as_they_were_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, _ = _loop(GraphLoop, PROBLEMS["two views"], Genome((Convolution(4, inputs=(2,)), Convolution(4))))
    graph = tf.function(lambda: tf.constant(0)).get_concrete_function()
    monkeypatch.delattr(type(graph), "_call_with_flat_signature")  # which takes them in any structure, but slowly
    images, _ = _samples(PROBLEMS["two views"])
    assert len(loop.run(np.arange(22), math.inf)) == 3
    assert len(loop.predict(images)) == 22


def _losses(kind: Any, of: Any, *, precision: str = "float32", seed: int | None = None) -> np.ndarray:
    """Return the losses of three epochs of a segmentation, and look at its predictions."""
    images, _ = _samples(of)
    labels = (images[0][..., 0] > 1).astype("uint8")
    model = decode(Genome((Convolution(4, normalisation="batch"), Convolution(4))), of, 3, precision)
    optimizer = make_optimizer("sgd", 1e-1, 0.0, precision)
    source = WholeSamples(Samples(tuple(images), labels), seed=0)
    loop = kind(model, Loss(of), optimizer, source, 8, None if seed is None else Augmentation(of, seed))
    losses = np.concatenate([loop.run(np.arange(22), math.inf) for _ in range(3)])
    predictions = loop.predict(images)
    assert predictions.dtype == np.float32
    np.testing.assert_allclose(predictions.sum(axis=-1), 1.0, rtol=1e-5)
    return losses


def test_both_loops_change_the_same_samples_by_the_same_chances() -> None:
    changes = ("flip", "rotate", "shift", "rotate=15", "elastic", "noise", "gamma", "tests.own_functions:Brighter")
    of = problem("segmentation", augmentation=changes)
    graph, batch, unchanged = _losses(GraphLoop, of, seed=5), _losses(BatchLoop, of, seed=5), _losses(GraphLoop, of)
    np.testing.assert_allclose(graph, batch, rtol=1e-4)
    assert (abs(graph - unchanged) > 1e-3).any()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_both_loops_take_nearly_the_same_steps_with_16_bits(precision: str) -> None:
    of = problem("segmentation")
    exact = _losses(GraphLoop, of)
    for kind in LOOPS:
        coarse = _losses(kind, of, precision=precision)
        np.testing.assert_allclose(coarse, exact, rtol=2e-2)  # a loss that was not unscaled again would run away
        assert (coarse != exact).any()


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_stops_at_once_when_the_loss_is_no_number(kind: Any) -> None:
    loop, _ = _loop(kind, problem(), rate=1e30)
    losses = loop.run(np.tile(np.arange(22), 20), math.inf)
    assert not math.isfinite(losses[-1])
    assert np.isfinite(losses[:-1]).all()
    assert len(losses) < 10


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_stops_at_its_deadline(kind: Any) -> None:
    loop, _ = _loop(kind, problem())
    assert len(loop.run(np.tile(np.arange(22), 5000), time.monotonic() + 0.2)) < 10000
    assert len(loop.run(np.arange(22), 0.0)) == 1


def test_a_penalty_of_a_users_own_layer_is_part_of_the_loss() -> None:
    of = problem()
    image = keras.Input((16, 16, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.ActivityRegularization(l2=10.0)(image))
    losses = []
    for kind in LOOPS:
        model = keras.Model(image, keras.layers.Dense(3, "softmax", kernel_initializer="zeros")(pooled))
        loop = kind(model, Loss(of), make_optimizer("sgd", 1e-3, 0.0), _source(of), 22)
        losses.append(float(loop.run(np.arange(22), math.inf)[0]))
    assert losses[0] > 2 * math.log(3)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_network_with_dropout_trains_in_the_graph() -> None:
    loop, _ = _loop(GraphLoop, problem(), Genome((Convolution(4), Dropout(0.5))))
    first, *_, last = np.concatenate([loop.run(np.arange(22), math.inf) for _ in range(40)])
    assert last < first


def test_the_loop_suits_the_data() -> None:
    of = problem()
    arguments = (decode(GENOME, of), Loss(of), make_optimizer("adam", 1e-3, 0.0), _source(of), 8)
    resident, streaming = (make_loop(*arguments, memory_bytes=room) for room in (1e6, 1e3))
    assert isinstance(resident, GraphLoop)
    assert isinstance(streaming, GraphLoop)
    assert (resident._chunk, streaming._chunk) == (None, 8)


def test_samples_that_do_not_fit_into_memory_give_the_same_network() -> None:
    of = PROBLEMS["two views"]
    two = Genome((Convolution(4, inputs=(2,), normalisation="batch"), FullyConnected(8, inputs=(1,))))
    order = np.random.default_rng(1).permutation(22)
    found = []
    for chunk in (None, 16):
        model = decode(two, of, seed=3)
        loop = GraphLoop(model, Loss(of), make_optimizer("sgd", 1e-2, 0.0), _source(of), 8, chunk=chunk)
        found.append([loop.run(order, math.inf), *model.get_weights()])
    assert len(found[1][0]) == 3
    for held, streamed in zip(*found, strict=True):
        np.testing.assert_allclose(held, streamed, atol=1e-6)


def test_a_deadline_between_two_chunks_is_kept() -> None:
    of = problem()
    model = decode(GENOME, of, seed=3)
    loop = GraphLoop(model, Loss(of), make_optimizer("sgd", 1e-2, 0.0), _source(of), 8, chunk=8)
    assert len(loop.run(np.arange(22), time.monotonic() - 1.0)) == 1


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop", "Lion"])
def test_weight_decay_is_what_was_asked_for(name: str) -> None:
    assert not make_optimizer(name, 1e-3, 0.0).weight_decay
    assert make_optimizer(name, 1e-3, 1e-4).weight_decay == 1e-4


def test_an_unknown_optimiser_is_named() -> None:
    with pytest.raises(UserError, match="expected a name of Keras, got 'adm'; did you mean 'adam'"):
        make_optimizer("adm", 1e-3, 0.0)


@pytest.mark.parametrize(("is_on_cpu", "expected"), [(True, "BatchLoop"), (False, "ScanLoop")])
def test_jax_takes_its_compiled_loop_on_gpus_alone(
    monkeypatch: pytest.MonkeyPatch, is_on_cpu: bool, expected: str
) -> None:
    of = PROBLEMS["two views"]
    made = SimpleNamespace(ScanLoop=lambda *_: "ScanLoop")
    monkeypatch.setitem(sys.modules, "menndl_dask.training.jax_loop", made)
    monkeypatch.setattr(loop_module, "BatchLoop", lambda *_: "BatchLoop")
    monkeypatch.setattr(loop_module, "_is_jax_on_cpu", lambda: is_on_cpu)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert make_loop(None, None, None, _source(of), 8, 1e9) == expected
