"""Checkpoints: a training that is cut off goes on elsewhere, to the same end."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

from menndl_dask.data.data import open_problem
from menndl_dask.environment import JOB_END
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, Dropout, FullyConnected
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.training.checkpoint import Checkpoint, State, restore
from menndl_dask.training.optimizer import make_optimizer
from menndl_dask.training.request import TrainingRequest
from tests import stores

NETWORK = Individual(5, Genome((Convolution(8, normalisation="batch"), Dropout(0.2), FullyConnected(16))))
LIMITS = Limits(120, checkpoint_s=0.1)
SCHEDULE = {"steps": 7, "seconds": 1.5, "rungs": 1, "learning_check": False}
STATE = State(SCHEDULE, [0.5, 0.4], [{"epoch": 1.0, "fitness": 0.3}], {})


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    path = tmp_path_factory.mktemp("classes") / "data.zarr"
    budget = Budget(epochs=40, batch_size=8, deterministic=True)
    stores.write(stores.classification(240), path, 60)
    return open_problem(path, budget=budget, augmentation=("flip", "noise"))


def request(path: Path | None, every: float | None = 60.0, seed: int = 1) -> TrainingRequest:
    checkpoint = None if path is None else str(path)
    return TrainingRequest({}, {}, Limits(checkpoint_s=every), seed, checkpoint=checkpoint)


def variables(value: float) -> list[keras.Variable]:
    weights = [keras.Variable(np.full((3, 2), value), dtype=kind) for kind in ("float32", "bfloat16")]
    return [*weights, keras.Variable(np.array(4, "int32"), trainable=False)]


# --- the file -------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "networks" / "7" / ".checkpoint"
    Checkpoint(request(path)).write(STATE, variables(0.25))
    found = Checkpoint(request(path)).read()
    assert found is not None
    assert found[0] == STATE
    fresh = variables(0.0)
    assert restore(fresh, found[1])
    for variable in fresh[:2]:
        np.testing.assert_array_equal(variable.numpy().astype("float32"), np.full((3, 2), 0.25))
    assert [file.name for file in path.parent.iterdir()] == [".checkpoint"]


def test_another_training_begins_anew_and_so_does_one_whose_checkpoint_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "one"
    assert Checkpoint(request(path)).read() is None
    Checkpoint(request(path)).write(STATE, variables(0.25))
    assert Checkpoint(request(path, seed=2)).read() is None
    path.write_bytes(path.read_bytes()[:100])
    assert Checkpoint(request(path)).read() is None


def test_values_that_do_not_fit_change_nothing() -> None:
    fresh = variables(0.0)
    assert not restore(fresh, [np.ones((3, 2)), np.ones((3, 2)), np.ones(2)])
    assert not restore(fresh, [np.ones((3, 2))])
    assert not keras.ops.any(fresh[0])


def test_a_disk_that_takes_nothing_is_no_failure_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    checkpoint = Checkpoint(request(tmp_path / "file" / "one"))
    checkpoint.write(STATE, variables(0.25))
    assert not checkpoint.is_due


def test_it_is_due_at_intervals_and_half_a_minute_before_the_job_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(path: Path | None, every: float | None) -> float:
        checkpoint = Checkpoint(request(path, every))
        checkpoint.begin()
        return checkpoint.due - time.monotonic()

    assert due(tmp_path / "one", 60) == pytest.approx(60, abs=4)
    assert due(None, 60) == due(tmp_path / "one", None) == np.inf
    monkeypatch.setenv(JOB_END, str(time.time() + 50))
    assert due(tmp_path / "one", 60) == pytest.approx(20, abs=4)
    assert due(tmp_path / "one", 5) == pytest.approx(5, abs=4)
    monkeypatch.setenv(JOB_END, str(time.time() + 10))  # that moment has passed
    assert due(tmp_path / "one", 60) == pytest.approx(60, abs=4)


def test_a_clock_that_is_set_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, now = Checkpoint(request(tmp_path / "one", 60)), time.time()
    checkpoint.begin()
    for step in (-86_400.0, 86_400.0):
        monkeypatch.setattr(time, "time", lambda step=step: now + step)
        assert not checkpoint.is_due
        checkpoint._schedule_next(60)
        assert checkpoint.due - time.monotonic() == pytest.approx(60, abs=4)


# --- the training ---------------------------------------------------------------------------------------------------


def test_the_retry_of_a_killed_worker_goes_on_from_its_checkpoint_to_the_same_end_to_the_bit(
    problem: Problem, tmp_path: Path
) -> None:
    checkpoint = tmp_path / ".checkpoint"
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0)
    with cluster, Client(cluster, set_as_default=False) as client:
        future = client.submit(evaluate, NETWORK, problem, LIMITS, checkpoint=checkpoint)
        deadline = time.monotonic() + 300
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        [nanny] = cluster.workers.values()
        psutil.Process(nanny.pid).kill()
        rest: Result = future.result(timeout=300)
        whole: Result = client.submit(evaluate, NETWORK, problem, LIMITS).result(timeout=300)
    assert rest.succeeded, rest.message
    assert rest.message.startswith("resumed from a checkpoint after ")
    assert float(rest.message.split()[-2]) >= 1
    assert rest.curve[-1]["epoch"] == 40
    for fact in ("epoch", "loss", "val_loss", "fitness"):
        assert [p[fact] for p in rest.curve] == [p[fact] for p in whole.curve]
    assert (rest.fitness, rest.metrics) == (whole.fitness, whole.metrics)
    assert rest.costs["flops_training"] == whole.costs["flops_training"]
    assert rest.costs["train_seconds"] > rest.times["train"]  # what was trained before is counted


def test_a_training_whose_optimiser_is_another_begins_from_its_start(problem: Problem, tmp_path: Path) -> None:
    checkpoint = tmp_path / ".checkpoint"
    short = replace(problem, budget=replace(problem.budget, epochs=1))
    asked = TrainingRequest(NETWORK.genome.to_dict(), short.to_dict(), LIMITS, 1, checkpoint=str(checkpoint))
    Checkpoint(asked).write(STATE, variables(0.25))
    assert Checkpoint(asked).read() is not None
    result = evaluate(NETWORK, short, LIMITS, seed=1, checkpoint=checkpoint)
    assert result.succeeded, result.message
    assert "resumed" not in result.message
    assert [point["epoch"] for point in result.curve] == [1.0]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_state_of_the_package_s_former_adam_fits_that_of_keras(name: str) -> None:
    """It was a subclass of Keras's Adam: a counter, the learning rate, then two moments of each array."""
    weights = [keras.Variable(np.zeros((3, 2))), keras.Variable(np.zeros(2))]
    optimizer = make_optimizer(name, 1e-3, 0.0)
    optimizer.build(weights)
    state = [np.array(7), np.array(1e-3), np.ones((3, 2)), np.ones((3, 2)), np.ones(2), np.ones(2)]
    assert restore(optimizer.variables, state)
    assert optimizer.iterations == 7
