"""Trainings: how a budget is spent, with which numbers, and on which changed images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.data.data import open_problem, open_staged, stage
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, Dropout, FullyConnected, Pooling
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.training.request import Threshold
from tests import stores

GENOME = Genome((Convolution(8, normalisation="batch"), Pooling(), Dropout(0.1), FullyConnected(16)))
BUDGET = Budget(epochs=3, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """Return a problem that a small network learns in a second."""
    path = tmp_path_factory.mktemp("classes") / "data.zarr"
    return open_problem(stores.write(stores.classification(240), path, 60), budget=BUDGET)


def _evaluate(problem: Problem, *, genome: Genome = GENOME, save: Path | None = None, **budget: Any) -> Result:
    of = replace(problem, budget=replace(problem.budget, **budget))
    return evaluate(Individual(1, genome), of, Limits(120), save=save, test=True)


def test_a_network_gets_the_flops_of_its_budget(problem: Problem) -> None:
    result = _evaluate(problem, epochs=None, flops=1e8, early_stopping=False)
    step = 16 * cost_of(GENOME, problem).flops_training
    assert result.costs["flops_training"] == pytest.approx(1e8, abs=step)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_network_trained_with_16_bits_is_saved_as_one_of_float32(
    problem: Problem, precision: str, tmp_path: Path
) -> None:
    result = _evaluate(problem, save=tmp_path / "network.keras", precision=precision)
    assert (result.failure, result.message) == (None, "")
    assert result.fitness is not None
    assert result.fitness > 0.9
    model = keras.models.load_model(tmp_path / "network.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    test = open_staged(stage(problem, tmp_path), "test")
    right = np.argmax(model(np.asarray(test.images[0])), axis=-1) == test.labels
    assert np.mean(right) == pytest.approx(result.metrics["test_accuracy"], abs=0.05)


def test_a_trained_network_is_measured_without_being_trained_again(problem: Problem, tmp_path: Path) -> None:
    saved = tmp_path / "network.keras"
    before = _evaluate(problem, save=saved)
    again = evaluate(Individual(1, GENOME), problem, Limits(120), test=True, trained=saved)
    assert again.fitness == pytest.approx(before.fitness)
    assert again.metrics == pytest.approx(before.metrics)
    assert again.curve == () and "flops_training" not in again.costs and again.costs["latency_ms"] > 0


def test_what_diverges_with_16_bits_is_trained_again_with_32(problem: Problem, tmp_path: Path) -> None:
    of = replace(problem, augmentation=("tests.own_functions:Blinding",))
    genome, patient = Genome((Convolution(4),)), {"early_stopping": False, "learning_rate": 1e-9}
    coarse = _evaluate(of, genome=genome, save=tmp_path / "network.keras", precision="float16", **patient)
    exact = _evaluate(of, genome=genome, **patient)
    assert coarse.failure is None
    assert coarse.message == "trained in float32, because in float16 it diverged: the loss became nan in step 1"
    assert coarse.metrics == pytest.approx(exact.metrics)
    assert [point["epoch"] for point in coarse.curve] == [point["epoch"] for point in exact.curve]
    more = coarse.costs["flops_training"] - exact.costs["flops_training"]
    assert more == 16 * cost_of(genome, of).flops_training  # of the step that diverged
    assert (tmp_path / "network.keras").exists()


def test_what_diverges_with_32_bits_too_has_diverged(problem: Problem) -> None:
    result = _evaluate(problem, precision="bfloat16", optimizer="sgd", learning_rate=1e30)
    assert result.failure == "diverged"
    assert "; trained in float32, because in bfloat16 it diverged: the loss became" in result.message


def test_augmentation_changes_the_training_and_leaves_validation_as_it_is(problem: Problem, tmp_path: Path) -> None:
    of = replace(problem, augmentation=("tests.own_functions:Brighter", "noise=0.3"))
    genome, still = Genome((FullyConnected(4),)), {"learning_rate": 1e-12, "early_stopping": False}
    changed = _evaluate(of, genome=genome, save=tmp_path / "network.keras", **still)
    unchanged = _evaluate(problem, genome=genome, **still)
    assert changed.curve[-1]["val_loss"] == pytest.approx(unchanged.curve[-1]["val_loss"], rel=1e-4)
    assert changed.curve[-1]["loss"] != pytest.approx(unchanged.curve[-1]["loss"], rel=1e-2)
    model = keras.models.load_model(tmp_path / "network.keras")
    assert not any("augmentation" in layer.name for layer in model.layers)


def test_a_network_below_a_bar_ends_at_its_rung_and_keeps_what_it_had_reached(problem: Problem) -> None:
    of = replace(problem, budget=replace(BUDGET, epochs=4, rungs=(0.5,)))
    thresholds = [
        Threshold(0.5, 2.0, "too few layers for its size", {"parameters": 1e9}),
        Threshold(0.4, 2.0, "a rung that there is not"),
        Threshold(0.5, 2.0, "others did better", {"latency_ms": 0.0}),
    ]
    assert evaluate(Individual(1, GENOME), of, Limits(120), thresholds=thresholds[:2]).succeeded
    result = evaluate(Individual(1, GENOME), of, Limits(120), thresholds=thresholds)
    assert result.failure == "pruned"
    assert result.message.startswith("after 2 epochs its fitness was ")
    assert result.message.endswith("below 2: others did better")
    assert [(point["epoch"], point["share"]) for point in result.curve] == [(2, 0.5)]
    assert result.metrics["fitness"] == result.curve[-1]["fitness"]
    assert result.costs["latency_ms"] > 0


def test_images_and_values_in_metres_are_learnt_as_well_as_in_nanometres(tmp_path: Path) -> None:
    data = stores.regression(120, values=1)
    metres = data.assign(image=data["image"] * np.float32(1e-9), label=data["label"] * 1e-9)
    scores = []
    for name, stored in (("nanometres", data), ("metres", metres)):
        of = open_problem(stores.write(stored, tmp_path / f"{name}.zarr", 60), budget=replace(BUDGET, epochs=20))
        scores.append(_evaluate(of, genome=Genome((FullyConnected(8),)), early_stopping=False).fitness)
    assert scores[0] is not None and scores[0] > 0.8
    assert scores[1] == pytest.approx(scores[0], abs=0.05)
