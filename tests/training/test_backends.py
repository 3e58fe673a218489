"""Backends of Keras: the same evaluations with each that is installed, chosen by one setting."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.data.data import open_problem, open_staged, stage
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.trainer_pool import close
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, Dropout, FullyConnected, Pooling
from menndl_dask.problem import BACKENDS, Budget, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.space.standard.standard import standard_network
from tests import stores

GENOME = Genome((Convolution(8, normalisation="batch"), Pooling(), FullyConnected(16)))
LIMITS = Limits(200)


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return each backend that is installed; no trainer of it is left."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"the Keras backend {request.param} is not installed: pip install menndl_dask[{request.param}]")
    yield request.param
    close()


@pytest.fixture
def _compiled_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let JAX, each of whose trainings is a new interpreter, read what another one of these tests has compiled."""
    folder = tmp_path_factory.getbasetemp() / "compiled by jax"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where images of three classes are."""
    return stores.write(stores.classification(240), tmp_path_factory.mktemp("classes") / "data.zarr", 60)


def _problem(data: Path, backend: str, **settings: Any) -> Problem:
    budget = Budget(epochs=4, batch_size=16, learning_rate=1e-2, backend=backend, **settings)
    return open_problem(data, budget=budget)


def _evaluate(problem: Problem, genome: Genome = GENOME, **options: Any) -> Result:
    return evaluate(Individual(3, genome), problem, LIMITS, **options)


@pytest.mark.usefixtures("_compiled_once")
def test_a_network_learns_and_is_saved_for_every_backend(backend: str, data: Path, tmp_path: Path) -> None:
    problem = _problem(data, backend)
    result = _evaluate(problem, test=True, save=tmp_path / "network.keras")
    assert (result.failure, result.message) == (None, "")
    assert result.fitness is not None
    assert result.fitness > 0.9
    assert result.curve[-1]["epoch"] == 4
    model = keras.models.load_model(tmp_path / "network.keras")  # with the backend of this process
    test = open_staged(stage(problem, tmp_path), "test")
    right = np.argmax(model(np.asarray(test.images[0])), axis=-1) == test.labels
    assert np.mean(right) == pytest.approx(result.metrics["test_accuracy"])


def test_a_deterministic_training_is_the_same_to_the_bit_in_another_trainer(
    backend: str, data: Path, tmp_path: Path
) -> None:
    genome = Genome((*GENOME.genes, Dropout(0.1)))
    moves = ("flip", "shift", "rotate=15", "scale", "shear", "elastic")
    changes = (*moves, "brightness", "contrast", "gamma", "blur", "noise", "cutout")
    of = replace(_problem(data, backend, deterministic=True), augmentation=changes)
    results, weights = [], []
    for name in ("one.keras", "two.keras"):
        if results:
            close()
        results.append(_evaluate(of, genome, save=tmp_path / name))
        weights.append(keras.models.load_model(tmp_path / name).get_weights())
    first, second = results
    assert first.succeeded, first.message
    assert first.fitness == second.fitness
    assert first.metrics == second.metrics
    for fact in ("loss", "val_loss", "fitness"):
        assert [point[fact] for point in first.curve] == [point[fact] for point in second.curve]
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.usefixtures("_compiled_once")
def test_what_diverges_with_16_bits_is_trained_again(backend: str, data: Path) -> None:
    of = _problem(data, backend, precision="float16", early_stopping=False)
    assert _evaluate(of).message == ""
    still = replace(of.budget, learning_rate=1e-9)
    blinding = replace(of, augmentation=("tests.own_functions:Blinding",), budget=still)
    result = _evaluate(blinding)
    assert result.failure is None, result.message
    assert result.message == "trained in float32, because in float16 it diverged: the loss became nan in step 1"


@pytest.mark.usefixtures("_compiled_once")
def test_pixels_are_classified_and_move_with_their_images(backend: str, tmp_path: Path) -> None:
    budget = Budget(epochs=8, batch_size=16, learning_rate=1e-2, backend=backend)
    of = open_problem(stores.write(stores.segmentation(48), tmp_path / "data.zarr"), budget=budget, augmentation="flip")
    result = _evaluate(of, standard_network(of)[1])
    assert result.fitness is not None, result.message
    assert of.facts.constant_fitness is not None
    assert result.fitness > of.facts.constant_fitness + 0.2


@pytest.mark.usefixtures("_compiled_once")
def test_patches_are_trained_on_and_whole_images_scored(backend: str, tmp_path: Path) -> None:
    budget = Budget(epochs=3, batch_size=16, learning_rate=1e-2, backend=backend)
    path = stores.write(stores.micrographs(), tmp_path / "data.zarr")
    of = open_problem(path, budget=budget, patch=(32, 32), augmentation=("flip", "shift"))
    assert of.patches is not None
    of = replace(of, patches=replace(of.patches, per_epoch=160, validation_tiles=24))
    result = _evaluate(of, Genome((Convolution(8, normalisation="batch"),)), test=True)
    assert result.fitness is not None, result.message
    assert result.fitness > 0.8
    assert result.metrics["test_mean_iou"] == pytest.approx(result.fitness, abs=0.1)
    assert 0 < result.metrics["test_mean_iou_error"] < 0.1


@pytest.mark.usefixtures("_compiled_once")
def test_numbers_are_predicted_with_a_metric_of_keras(backend: str, tmp_path: Path) -> None:
    path = stores.write(stores.regression(80), tmp_path / "data.zarr")
    budget = Budget(epochs=3, batch_size=16, learning_rate=1e-2, backend=backend)
    result = _evaluate(open_problem(path, budget=budget, metric="mean_absolute_percentage_error", metric_mode="min"))
    assert result.fitness is not None, result.message
    assert -200 < result.fitness < 0


@pytest.mark.usefixtures("_compiled_once")
def test_the_limits_hold(backend: str, data: Path) -> None:
    of = _problem(data, backend)
    seconds = 2 if backend == "tensorflow" else 15  # a fresh interpreter imports Keras first
    result = evaluate(Individual(1, GENOME), replace(of, budget=replace(of.budget, epochs=1e6)), Limits(seconds))
    assert result.failure == "timed_out"
    assert sum(taken for phase, taken in result.times.items() if phase not in ("start", "total")) < seconds + 20


@pytest.mark.usefixtures("_compiled_once")
def test_the_environment_says_which_backend_where_the_budget_does_not(
    backend: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    of = open_problem(data, budget=Budget(steps=2), loss="tests.own_functions:telling")
    assert f"the backend is {backend}" in _evaluate(of).message


def test_a_backend_that_is_not_installed_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in BACKENDS if importlib.util.find_spec(name) is None]
    if not missing:
        pytest.skip(f"all of {', '.join(BACKENDS)} are installed in {os.environ.get('VIRTUAL_ENV', 'here')}")
    result = _evaluate(_problem(data, missing[0]))
    assert result.failure == "error"
    assert f"No module named '{missing[0]}'" in result.message
    close()
