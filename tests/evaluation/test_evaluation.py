"""Evaluations: every outcome is one typed result, and provoked here by the real thing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest

from menndl_dask.data.data import open_problem, open_staged, stage
from menndl_dask.errors import NodeError
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.sample_scores import read_examples, read_sums
from menndl_dask.evaluation.trainer import FRESH
from menndl_dask.evaluation.trainer_pool import close
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, Dropout, FullyConnected, Pooling
from menndl_dask.genome.training_gene import Training
from menndl_dask.metric import values_of
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.result import FAILURES, Result
from menndl_dask.space.standard.standard import standard_network
from tests import stores
from tests.problems import problem as imaginary
from tests.processes import gone

SMALL = (Convolution(8, (3,), normalisation="batch"), Pooling(), FullyConnected(16))
BUDGET = Budget(epochs=4, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """Return a problem of three classes that a small network learns in a second."""
    path = tmp_path_factory.mktemp("classes") / "data.zarr"
    return open_problem(stores.write(stores.classification(240), path, 60), budget=BUDGET)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the measured network is saved."""
    return tmp_path_factory.mktemp("run") / "networks" / "best.keras"


@pytest.fixture(scope="module")
def measured(problem: Problem, network: Path) -> Result:
    """Return the result of a network that learns, is tested and is saved."""
    examples, sums = network.with_name("examples.npz"), network.with_name("sums.npz")
    return _evaluate(problem, test=True, save=network, test_sums=sums, examples=examples)


def _evaluate(problem: Problem, *genes: Gene, **options: Any) -> Result:
    return evaluate(Individual(3, Genome(genes or SMALL)), problem, options.pop("limits", Limits(120)), **options)


def _trainer() -> psutil.Process:
    """Return the trainer of this process."""
    children = psutil.Process().children()
    return next(child for child in children if "menndl_dask.evaluation.trainer" in child.cmdline())


@dataclass
class Background:
    """An evaluation in a thread, which tests interfere with."""

    thread: threading.Thread
    results: list[Result]

    def result(self) -> Result:
        self.thread.join(300)
        return self.results[0]


def _training(of: psutil.Process | None = None) -> psutil.Process:
    """Wait for the training that a process (by default this one) has its trainer fork, and return it."""
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline:
        below = (of or psutil.Process()).children(recursive=True)
        trainers = [c for c in below if "menndl_dask.evaluation.trainer" in _command(c)]
        found = [c for trainer in trainers for c in _children(trainer) if _leads(c)]
        if found:
            return found[0]
        time.sleep(0.02)
    raise AssertionError("no training was started")


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.children())
    return []


def _leads(process: psutil.Process) -> bool:
    """Return whether a process leads a group, as trainings do; importing a framework starts others, for a moment."""
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process.pid) == process.pid
    return False


def _in_background(call: Callable[[], Result]) -> Background:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return Background(thread, results)


# --- trained --------------------------------------------------------------------------------------------------------


def test_a_tested_network_leaves_samples_to_look_at(measured: Result, network: Path, problem: Problem) -> None:
    assert measured.succeeded
    found = read_examples(network.with_name("examples.npz"))
    assert found is not None
    assert found["confusion"].sum() == problem.facts.samples[2]
    share = np.trace(found["confusion"]) / found["confusion"].sum()
    assert share == pytest.approx(measured.metrics["test_accuracy"])
    assert {"best", "median", "worst"} <= set(found["place"].tolist())
    assert found["source"].tolist() == found["unit"].tolist()


def test_the_test_score_of_each_sample_is_kept(problem: Problem, measured: Result, network: Path) -> None:
    sums = read_sums(network.with_name("sums.npz"))
    assert sums is not None
    assert sums.shape == (problem.facts.samples[2], 3, 3)
    assert set(values_of("accuracy", sums).tolist()) == {0.0, 1.0} or measured.metrics["test_accuracy"] == 1
    assert values_of("accuracy", sums.sum(axis=0)) == pytest.approx(measured.metrics["test_accuracy"])


def test_a_network_that_learns_is_measured_in_every_way(problem: Problem, measured: Result) -> None:
    result = measured
    assert (result.failure, result.message) == (None, "")
    assert result.fitness is not None
    assert result.fitness > 0.9
    assert result.metrics["accuracy"] == result.fitness
    assert result.metrics["test_accuracy"] > 0.8
    assert 0.0 <= result.metrics["test_accuracy_error"] < 0.1
    assert 0 < result.costs["framework_bytes"] < result.costs["memory_bytes"]
    assert [point["epoch"] for point in result.curve] == pytest.approx([2, 2.76, 4], abs=0.01)  # the rungs, and the end
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]
    assert result.curve[-1]["fitness"] == result.fitness
    assert result.curve[-1]["val_loss"] == result.metrics["loss"]
    assert set(result.times) == {"start", "data", "build", "train", "measure", "total"}
    assert sum(result.times.values()) <= 2 * result.times["total"] + 0.01
    assert result.costs["train_seconds"] == result.times["train"]
    samples = 4 * problem.facts.samples[0]
    assert result.costs["flops_training"] > samples * 2 * result.costs["flops_forward"]
    assert 0.01 < result.costs["latency_ms"] < 2000
    assert 1e8 < result.costs["memory_bytes"] < 2e9
    assert result.worker.endswith(f":{os.getpid()}")


def test_the_same_seed_gives_the_same_network_and_each_individual_has_its_own(problem: Problem) -> None:
    short = replace(problem, budget=Budget(steps=3, batch_size=16))
    genome = Genome((*SMALL, Dropout(0.3)))
    first, again, other = (evaluate(Individual(n, genome), short) for n in (1, 1, 2))
    assert first.seed == again.seed != other.seed
    assert first.metrics["loss"] == pytest.approx(again.metrics["loss"], rel=1e-4)
    assert first.metrics["loss"] != pytest.approx(other.metrics["loss"], rel=1e-4)
    impossible = Genome((Convolution(4, (9,), padding="valid"),) * 2)
    assert evaluate(Individual(9, impossible), imaginary(), seed=1).seed == 1


def test_the_training_gene_goes_before_the_budget(problem: Problem) -> None:
    short = replace(problem, budget=Budget(steps=2, batch_size=16, learning_rate=1e-1, early_stopping=False))
    by_budget = _evaluate(short)
    by_gene = _evaluate(short, Training("sgd", 1e-5, 64), *SMALL)
    assert by_gene.costs["flops_training"] == 4 * by_budget.costs["flops_training"]
    assert by_gene.metrics["loss"] != by_budget.metrics["loss"]


@pytest.mark.parametrize(
    ("budget", "epochs"),
    [(Budget(epochs=0.5, batch_size=16), 0.5), (Budget(steps=5, batch_size=16), 80 / 168)],
)
def test_a_budget_may_be_a_part_of_an_epoch(problem: Problem, budget: Budget, epochs: float) -> None:
    result = _evaluate(replace(problem, budget=replace(budget, early_stopping=False)))
    assert [point["epoch"] for point in result.curve] == pytest.approx([epochs], abs=0.1)


def test_a_budget_of_seconds_is_kept(problem: Problem) -> None:
    result = _evaluate(replace(problem, budget=Budget(seconds=0.5, learning_rate=1e-2)))
    assert result.succeeded
    assert 0.5 <= result.curve[-1]["seconds"] < 20
    assert result.costs["train_seconds"] == pytest.approx(result.curve[-1]["seconds"], abs=20)


def test_numbers_are_predicted_in_the_users_unit(tmp_path: Path) -> None:
    data = stores.regression(160)
    data["label"] = data.label * 1000 + 5000
    budget = Budget(epochs=20, batch_size=16, learning_rate=1e-2)
    of = open_problem(stores.write(data, tmp_path / "data.zarr"), budget=budget)
    result = _evaluate(of, Convolution(8), save=tmp_path / "network.keras", test=True)
    assert result.fitness is not None
    assert result.fitness > 0.7
    model = keras.models.load_model(tmp_path / "network.keras")
    predicted = np.asarray(model(data.image.values.astype("float32")))
    spread = data.label.values.std(axis=0)
    assert (np.abs(predicted - data.label.values).mean(axis=0) < spread).all()


def test_pixels_are_classified_and_ignored_ones_count_for_nothing(tmp_path: Path) -> None:
    of = open_problem(stores.write(stores.segmentation(48), tmp_path / "data.zarr"), budget=replace(BUDGET, epochs=8))
    _, genome = standard_network(of)
    result = evaluate(Individual(0, genome), of)
    assert result.fitness is not None
    assert of.facts.constant_fitness is not None
    assert result.fitness > of.facts.constant_fitness + 0.2


def test_a_users_own_loss_and_a_metric_that_is_to_be_small(tmp_path: Path) -> None:
    settings = {"loss": "tests.own_functions:absolute_error", "metric": "tests.own_functions:LargestError"}
    path = stores.write(stores.regression(80), tmp_path / "data.zarr")
    of = open_problem(path, metric_mode="min", budget=replace(BUDGET, epochs=3), **settings)
    result = _evaluate(of, Convolution(8))
    assert result.fitness is not None
    assert result.fitness < 0
    assert result.metrics[of.metric_name] == -result.fitness


# --- saved ----------------------------------------------------------------------------------------------------------


def test_a_saved_network_loads_with_plain_keras_and_says_the_same(
    problem: Problem, measured: Result, network: Path, tmp_path: Path
) -> None:
    model = keras.models.load_model(network)
    assert not model.compiled
    assert model.count_params() == measured.costs["parameters"]
    test = open_staged(stage(problem, tmp_path), "test")
    right = np.argmax(model(np.asarray(test.images[0])), axis=-1) == test.labels
    assert np.mean(right) == pytest.approx(measured.metrics["test_accuracy"])
    assert sorted(each.name for each in network.parent.iterdir()) == [network.name, "examples.npz", "sums.npz"]


def test_a_network_is_saved_only_above_the_given_fitness(problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "best.keras"
    result = _evaluate(replace(problem, budget=Budget(steps=2)), save=path, save_above=1.0)
    assert result.succeeded
    assert not path.exists()


def test_what_a_network_has_reached_counts_where_it_cannot_be_saved(problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "networks").write_text("a file where a folder is wanted: like a full disk it is no network's fault")
    result = _evaluate(replace(problem, budget=Budget(steps=2)), save=tmp_path / "networks" / "best.keras")
    assert result.succeeded
    assert result.message.startswith("the network could not be saved: ")


# --- failed ---------------------------------------------------------------------------------------------------------


def test_a_genome_that_cannot_be_built_is_infeasible() -> None:
    result = _evaluate(imaginary(), Convolution(4, (9,), padding="valid"), Convolution(4, (9,), padding="valid"))
    assert result.failure == "infeasible"
    assert "expected a window that fits into 8 pixels, got one of 9" in result.message


def test_random_labels_end_early(tmp_path: Path) -> None:
    data = stores.classification(240)
    data["label"] = ("sample", np.random.default_rng(5).permutation(data.label.values), data.label.attrs)
    budget = Budget(epochs=6, batch_size=8, learning_rate=1e-4)
    of = open_problem(stores.write(data, tmp_path / "data.zarr"), budget=budget)
    result = _evaluate(of, FullyConnected(4))
    assert result.failure == "no_learning"
    assert result.fitness is None
    assert result.curve[-1]["epoch"] == 2
    assert result.metrics["fitness"] == result.curve[-1]["fitness"]
    patient = _evaluate(replace(of, budget=replace(of.budget, early_stopping=False)), FullyConnected(4))
    assert patient.succeeded
    assert patient.curve[-1]["epoch"] == 6


def test_a_loss_that_is_no_number_has_diverged(problem: Problem) -> None:
    result = _evaluate(replace(problem, budget=replace(BUDGET, optimizer="sgd", learning_rate=1e30)))
    assert result.failure == "diverged"
    assert "loss" in result.message


def test_a_training_that_exceeds_its_memory_is_killed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(24, 128, 128, 1)).astype("float32")
    path = stores.write(stores.dataset(images, np.arange(24) % 2, classes=["a", "b"]), tmp_path / "data.zarr")
    large = (Convolution(128), Convolution(128), Convolution(128), Convolution(128))  # 128 MiB a layer for 16 samples
    of = open_problem(path, budget=Budget(epochs=50, batch_size=16))
    result = _evaluate(of, *large, limits=Limits(300, 700_000_000))
    assert result.failure == "out_of_memory"
    assert "MB where 700 MB are allowed; it was killed in phase" in result.message
    assert result.times["total"] < 60


def test_samples_that_are_larger_than_the_memory_limit_are_trained_on(tmp_path: Path) -> None:
    labels = np.arange(260) % 2
    images = np.broadcast_to((labels[:, None, None, None] * 100).astype("uint8"), (260, 1024, 1024, 1))
    path = stores.write(stores.dataset(images, labels, classes=["dark", "bright"]), tmp_path / "data.zarr", 20)
    of = open_problem(path, budget=Budget(epochs=2, batch_size=4, learning_rate=1e-2))
    limits = Limits(120, 750_000_000)
    assert 4 * images[: of.facts.samples[0]].size > limits.memory_bytes  # as float32, the training split alone
    result = _evaluate(of, Convolution(4, (4,), (16,)), limits=limits, scratch=tmp_path)
    assert result.fitness == 1.0, result.message
    assert [point["epoch"] for point in result.curve][-1] == 2.0


def test_a_network_that_takes_too_long_to_build_is_killed_in_time(problem: Problem) -> None:
    _evaluate(problem)  # the trainer is ready
    deep = tuple(Convolution(4, (3,), normalisation="batch") for _ in range(400))
    result = _evaluate(problem, *deep, limits=Limits(1.5))
    assert result.failure == "timed_out"
    assert result.message == "it took longer than 1.5 s; it was killed in phase 'build'"
    assert result.times["build"] < 1.5 + 2
    assert _trainer().children() == []


def test_a_training_that_is_killed_keeps_what_it_had_told(problem: Problem) -> None:
    endless = replace(problem, budget=Budget(epochs=1e6, learning_rate=1e-2))
    running = _in_background(lambda: _evaluate(endless))
    training = _training()
    while training.is_running() and training.cpu_times().user < 2.5:  # well into its epochs
        time.sleep(0.05)
    training.kill()
    result = running.result()
    assert result.failure == "killed"
    assert result.message == "the process was ended by SIGKILL, as by a system that runs out of memory"
    assert result.metrics["fitness"] == result.curve[-1]["fitness"]
    assert _evaluate(problem).succeeded


def test_a_trainer_that_is_killed_while_it_starts_is_nobodys_fault(problem: Problem) -> None:
    close()
    running = _in_background(lambda: _evaluate(problem))
    deadline = time.monotonic() + 150
    while not (started := [c for c in psutil.Process().children() if "menndl_dask.evaluation.trainer" in c.cmdline()]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started[0].kill()
    assert running.result().succeeded


@pytest.mark.parametrize(
    ("loss", "failure", "message"),
    [
        ("tests.own_functions:raising", "error", "ZeroDivisionError: one over nothing (own_functions.py, line "),
        ("categorical_crosentropy", "error", "loss: expected weighted_crossentropy, dice, "),
    ],
)
def test_a_mistake_of_the_users_is_told_in_a_line(problem: Problem, loss: str, failure: str, message: str) -> None:
    result = _evaluate(replace(problem, loss=loss))
    assert result.failure == failure, result.message
    assert message in result.message
    assert "\n" not in result.message


def test_the_whole_traceback_of_a_mistake_is_logged(problem: Problem, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "menndl_dask.evaluation.trainer_pool"):
        _evaluate(replace(problem, loss="tests.own_functions:raising"))
    assert 'raise ZeroDivisionError("one over nothing")' in caplog.text


def test_data_that_is_not_there_is_no_networks_fault(problem: Problem, tmp_path: Path) -> None:
    facts = replace(problem.facts, fingerprint="0123456789abcdef")
    with pytest.raises(NodeError, match=r"the samples cannot be read: .*nowhere\.zarr: expected a Zarr store"):
        _evaluate(replace(problem, data=str(tmp_path / "nowhere.zarr"), facts=facts))


def test_a_disk_without_room_for_samples_is_no_networks_fault(problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "disk").touch()  # nobody can make a folder in it
    with pytest.raises(NodeError, match=r"disk/.*: cannot be written to: Not a directory \(local_directory in a"):
        _evaluate(problem, scratch=tmp_path / "disk")


def test_a_framework_that_cannot_be_imported_is_told_in_a_line(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    close()
    monkeypatch.setenv("KERAS_BACKEND", "abacus")
    result = _evaluate(problem)
    assert result.failure == "error"
    assert "last line of its errors: ValueError: Unable to import backend" in result.message
    close()


# --- explained ------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_documentation_run(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_images.zarr").symlink_to(problem.data)
    page = Path(__file__).parents[1].parent / "docs" / "evaluation.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    module, example, *_ = blocks  # the others run with those of the other pages
    Path("my_losses.py").write_text(module, encoding="utf-8")
    exec(compile(example, str(page), "exec"), {})
    assert Path("first.keras").exists()


def test_every_failure_is_explained() -> None:
    text = (Path(__file__).parents[1].parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert [kind for kind in FAILURES if f"| `{kind}` |" not in text] == []


# --- alone ----------------------------------------------------------------------------------------------------------


def _program(mode: str, problem: Problem, scratch: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.evaluating", mode, problem.data, str(scratch)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_neither_the_driver_nor_a_dask_worker_loads_keras_and_nothing_is_left(problem: Problem, tmp_path: Path) -> None:
    with _program("cluster", problem, tmp_path) as program:
        assert program.communicate(timeout=300)[0] == "None True [] []\n"
    assert program.returncode == 0
    assert _emptied(tmp_path)


def test_nothing_is_left_of_a_process_that_is_killed_while_it_takes_its_time_to_end(
    problem: Problem, tmp_path: Path
) -> None:
    with _program("late", problem, tmp_path) as program:
        assert program.communicate(timeout=300)[0] == "None\n"
    assert program.returncode == -signal.SIGKILL
    assert _emptied(tmp_path)


@pytest.mark.parametrize("killed", ["endless", "nanny"])
def test_nothing_remains_of_a_process_or_nanny_that_is_killed_in_an_evaluation(
    problem: Problem, tmp_path: Path, killed: str
) -> None:
    with _program(killed, problem, tmp_path) as program:
        try:
            training = _training(psutil.Process(program.pid))
            below = psutil.Process(program.pid).children(recursive=True)  # the worker and the trainers too
        finally:
            program.kill()
    assert training in below
    for process in below:
        assert gone(process.pid)
    assert _emptied(tmp_path)


def _endless(problem: Problem) -> tuple[psutil.Process, Background]:
    """Return a training that has begun and does not end."""
    endless = replace(problem, budget=Budget(epochs=1e6, early_stopping=False))
    running = _in_background(lambda: _evaluate(endless))
    training = _training()
    _wait_for_work(training, 3.0)
    return training, running


def _wait_for_work(training: psutil.Process, seconds: float) -> None:
    """Wait until a training has computed for so long since it was forked."""
    before = training.cpu_times().user
    while training.cpu_times().user < before + seconds:
        time.sleep(0.05)


def _wait_for_rest(training: psutil.Process) -> None:
    """Wait until a training has computed something, and computes no more."""
    _wait_for_work(training, 0.3)
    before = -1.0
    while training.cpu_times().user > before:
        before = training.cpu_times().user
        time.sleep(0.5)


def test_where_forking_is_not_safe_each_evaluation_has_a_fresh_interpreter(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(problem, budget=Budget(steps=4))
    forked = _evaluate(short)
    frugal = replace(short, loss="tests.own_functions:listing")
    assert "loaded: []" in _evaluate(frugal).message
    close()
    monkeypatch.setenv(FRESH, "1")
    running = _in_background(lambda: _evaluate(short, save=tmp_path / "network.keras"))
    assert "--once" in _training().cmdline()
    fresh = running.result()
    assert fresh.metrics["loss"] == pytest.approx(forked.metrics["loss"], rel=1e-4)
    assert list(tmp_path.iterdir()) == [tmp_path / "network.keras"]
    broken = _evaluate(frugal)
    assert broken.failure == "error"
    assert "loaded: []" in broken.message
    late = _evaluate(short, limits=Limits(0.2))
    assert late.failure == "timed_out"
    assert _trainer().children() == []
    close()


def _emptied(scratch: Path) -> bool:
    """Return whether nothing is left in the scratch space of this user, or will be soon."""
    deadline = time.monotonic() + 150
    home = scratch / f"menndl-{os.getuid()}"
    while any(home.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(home.iterdir())
