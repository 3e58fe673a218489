"""`menndl forecast` says what a search will cost, by short trainings or by earlier runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.data.data import open_problem
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.individual import Individual
from menndl_dask.performance import forecast as by_trainings
from menndl_dask.problem import Problem
from menndl_dask.result import Result
from menndl_dask.search.plan import plan
from menndl_dask.search.plan.trial import Trial
from tests import runs, stores, stories


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plan, "run_trial", lambda *_: Trial(0.1, 5.0))
    return stores.write(stores.classification(120), tmp_path / "images.zarr")


def _result(individual: Individual, problem: Problem) -> Result:
    cost = cost_of(individual.genome, problem)
    costs = {"flops_training": 50 * problem.budget.batch_size * cost.flops_training, "train_seconds": 5.0}
    times = {"data": 0.1, "build": 2.0, "train": 5.0, "measure": 0.2, "total": 7.3}
    return Result(0.5, costs=costs, times=times, curve=({"seconds": 5.0, "share": 1.0, "fitness": 0.5},))


def test_some_networks_are_trained_where_the_search_would_run(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[int] = []

    def short(client: Any, problem: Problem, tried: Any, machine: Any) -> list[Result]:
        assert problem.budget.seconds is not None
        trained.append(len(tried))
        return [_result(Individual(number, genome), problem) for number, genome in enumerate(tried)]

    monkeypatch.setattr(by_trainings, "_trained", short)
    words = ["forecast", str(data), "--evaluations", "60", "--workers", "2", "--steps", "100", "--networks", "5"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert trained == [5]
    assert "forecast of 60 evaluations on 2 workers" in printed
    assert "by 5 networks trained for some seconds each, 2 at a time" in printed
    assert "node-hours" in printed
    assert "of samples are staged on this machine's disk" in printed


def test_earlier_runs_take_the_place_of_trainings(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = open_problem(data)
    evaluations = [(one, _result(one, problem)) for one, _ in stories.evaluations(12, problem)]
    run = runs.finished(tmp_path / "run", evaluations, replace(problem))
    assert main(["forecast", str(data), "--evaluations", "60", "--steps", "100", "--from", str(run.path)]) == 0
    assert "by 12 trainings of 1 earlier run" in capsys.readouterr().out


def test_a_number_of_networks_must_be_positive(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(data), "--networks", "0"]) != 0
    assert capsys.readouterr().err.strip().endswith("--networks: expected a number > 0, got 0")
