"""The command ``menndl retrain``: networks with several seeds, and on all data but the test split, kept for use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from menndl_dask.cli.cli import main
from menndl_dask.cli.retrain import retrain
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.report.conclusion import findings
from menndl_dask.report.content import read_content
from menndl_dask.report.report import render
from menndl_dask.result import Result
from menndl_dask.run.run import Run
from menndl_dask.search import comparison
from tests.problems import problem
from tests.runs import finished, recorder

OF = problem(budget=Budget(epochs=3), seed=40)


def trained(individual: Individual, of: Problem, limits: Limits, *, save: str, seed: int, **given: Any) -> Result:
    """Save what it was called with; two layers are the best, a seed adds a little."""
    Path(save).write_text(f"{individual.name} {of.train_on} {of.budget.epochs:g} {seed}")
    fitness = {2: 0.9, 5: 0.3}.get(len(individual.genome.layers), 0.2) + seed / 1e4
    return Result(fitness, metrics={"test_accuracy": fitness - 0.1}, costs={"flops_forward": 1e6})


@pytest.fixture(scope="module")
def client() -> Any:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run in which the network with the most layers was the fittest."""
    genomes = [Genome((Convolution(8),) * (i + 2)) for i in range(4)]
    return finished(tmp_path / "run", [(Individual(i, g), Result(i / 10)) for i, g in enumerate(genomes)], OF)


def again(run: Run, client: Client, **changes: Any) -> Path:
    usual: dict[str, Any] = {"factor": 2.0, "count": 4, "seeds": 2, "limits": Limits(), "is_final": False}
    retrain(run, client, OF, **{**usual, "evaluate": trained, **changes})
    return run.path / "best.keras"


def test_networks_of_several_seeds_are_kept_and_the_validation_split_says_which_is_used(
    run: Run, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    best = again(run, client)
    assert best.read_text() == "00000000 ('train',) 6 41"
    assert len(run.contenders) == 2 * (4 + 1)  # with the standard network
    assert all(c.path(run.path).is_file() for c in run.contenders)
    assert "best.keras: network 0, seed 41, by the validation split" in capsys.readouterr().out
    again(run, client, seeds=3)
    assert "trainings on train: 5; 3 seeds of each network" in capsys.readouterr().out
    contender = run.contenders[0]
    contender.path(run.path).unlink()  # as after `menndl compare`, which keeps none
    again(run, client)
    assert "trainings on train: 1; 2 seeds" in capsys.readouterr().out


def test_a_network_for_use_learns_from_the_validation_split_too_and_no_test_score_chooses_it(
    run: Run, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    best = again(run, client, count=2, is_final=True)
    assert best.read_text() == "00000003 ('train', 'validation') 6 40"  # the fittest of the search, worse on test
    assert {(c.individual.id, c.seed) for c in run.finals} == {(3, 40), (3, 41), (2, 40), (2, 41)}
    said = capsys.readouterr().out
    assert "network 3, seed 40: test accuracy 0.2040" in said
    assert "best.keras: network 3, seed 40, which the validation split preferred before" in said
    assert run.comparisons == run.contenders == []
    text = "\n\n".join(map(str, findings(run)))
    after = text.partition("Trained for use on the training and the validation split, with 2 times the budget")[2]
    assert re.search(r"network +trainings +test accuracy +test error", after)
    assert "Trained for use on the training" in render(read_content(run))


def test_what_several_seeds_or_a_longer_training_have_shown_decides_which_network_is_for_use(
    run: Run, client: Client
) -> None:
    assert [name for name, _ in comparison.preferred(run, OF, 2)] == ["network 3", "network 2"]
    again(run, client)
    assert [name for name, _ in comparison.preferred(run, OF, 2)] == ["network 0", "network 3"]
    assert again(run, client, count=1, is_final=True).read_text() == "00000000 ('train', 'validation') 6 40"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "0"], "--seeds: expected a number ≥ 1, got 0"),
        (["--top", "-2"], "--finalists: expected a number ≥ 1, got -2"),
        (["--retrain", "nan"], "--retrain: expected a number of at most"),
        (["--retrain", "0", "--seeds", "2"], "--retrain: expected a number > 0 with --seeds or --on, got 0"),
        (["--on", "validation"], "argument --on: expected one of train, train[+]validation, got 'validation'"),
    ],
)
def test_a_mistake_is_one_line(run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["retrain", str(run.path), "--data", "nowhere.zarr", *words])
    except SystemExit as end:
        status = int(end.code or 0)
    line = capsys.readouterr().err
    assert status == 2 and re.search(told, line) and len(line.splitlines()) == 1


def test_the_run_of_someone_else_is_retrained_with_the_same_command_and_its_data(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", str(run.path), "--seeds", "3", "--on", "train+validation"]) == 2
    expected = f"menndl retrain {run.path} --retrain 4 --seeds 3 --on train+validation --data {OF.data}"
    assert expected in capsys.readouterr().err


def test_a_run_that_a_driver_holds_is_refused_before_workers_are_started(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menndl_dask.cluster.cluster.load_cluster", None)
    with recorder(run.path, OF):
        assert main(["retrain", str(run.path), "--data", str(run.path)]) == 2
    assert "held by another driver" in capsys.readouterr().err
