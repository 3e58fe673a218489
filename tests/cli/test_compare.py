"""The command ``menndl compare``: what it refuses, and what it takes from a run."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from menndl_dask import workflow
from menndl_dask.cli.cli import main
from menndl_dask.space.space import SearchSpace
from tests.problems import problem
from tests.runs import finished, made_up, recorder

OF = problem()
DATA = ["--data", str(Path(__file__).parent)]  # it is not read


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--with", "resnet_18"], "--with: expected standard, random, resnet_small, .*, got 'resnet_18'; did you mean"),
        (["--with", "unet_full"], "--with: expected standard, random, resnet_small, .*, got 'unet_full'"),
        (["--with", "random"], "the search space of a run that was begun by 'a script' is not known; in Python"),
        (["--with", "lenet5", "--seeds", "0"], "--seeds: expected a number > 0, got 0"),
        (["--with", "lenet5", "--retrain", "-1"], "--retrain: expected a number > 0, got -1"),
        (["--with", "lenet5", "--retrain", "1", "0"], "--retrain: expected a number > 0, got 0"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "run", made_up(12), OF)
    assert main(["compare", str(tmp_path / "run"), *DATA, *words]) == 2
    line = capsys.readouterr().err
    assert re.search(told, line), line
    assert len(line.splitlines()) == 1
    assert len(line) <= 501


def test_a_run_without_a_network_is_refused_before_workers_are_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "run", [], OF)
    assert main(["compare", str(tmp_path / "run"), *DATA, "--with", "lenet5"]) == 2
    assert "no network has succeeded yet" in capsys.readouterr().err


def test_a_run_that_a_driver_holds_is_refused_before_workers_are_started(
    tmp_path: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "run", made_up(12), OF)
    with recorder(tmp_path / "run", OF):
        assert main(["compare", str(tmp_path / "run"), *DATA, "--with", "lenet5"]) == 2
    assert "held by another driver" in capsys.readouterr().err
    assert not called


def test_data_that_are_not_there_are_said_before_workers_of_this_machine_are_started(
    tmp_path: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path / "run", made_up(12), OF)
    command = ["compare", str(tmp_path / "run"), "--with", "lenet5", "--data", str(tmp_path / "nowhere.zarr")]
    assert main(command) == 2
    line = capsys.readouterr().err.splitlines()
    assert len(line) == 1 and f"found no such directory: {tmp_path}/nowhere.zarr" in line[0]
    assert not called
    (tmp_path / "site.yaml").write_text("kind: slurm\nshared_directory: /tmp\njobqueue: {cores: 1, memory: 1GB}\n")
    assert main([*command, "--cluster", str(tmp_path / "site.yaml")]) == 0
    assert called


def test_the_run_of_someone_else_is_compared_with_the_same_command_and_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    finished(run, made_up(12), OF)
    assert main(["compare", str(run), "--with", "lenet5", "random"]) == 2
    expected = f"menndl compare {run} --finalists 2 --with lenet5 random --seeds 3 --data {OF.data}"
    assert expected in capsys.readouterr().err


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what `workflow.compare_with` is called with; no workers are started."""
    found: dict[str, Any] = {}

    @contextmanager
    def no_cluster(*_: object, **__: object) -> Any:
        client = contextmanager(lambda: (yield None))
        yield SimpleNamespace(client=client)

    monkeypatch.setattr("menndl_dask.cluster.cluster.load_cluster", no_cluster)
    monkeypatch.setattr(
        workflow, "compare_with", lambda run, client, others, **given: found.update(given, others=others)
    )
    return found


def test_networks_budget_and_space_are_those_of_the_run(tmp_path: Path, called: dict[str, Any]) -> None:
    arguments = ["search", "nowhere.zarr", "--max-layers", "5"]
    with recorder(tmp_path / "run", OF) as opened:
        opened.started(evaluations=12, hours=None, command="menndl search nowhere.zarr", arguments=arguments)
        opened.completed(made_up(12))
    assert main(["compare", str(tmp_path / "run"), *DATA, "--with", "standard", "lenet5", "random", "lenet5"]) == 0
    assert [name for name, _ in called["others"]] == ["ResNet, small", "LeNet-5"]
    assert (called["factor"], called["seeds"], called["finalists"]) == ([1.0, 4.0], 3, 2)
    assert called["problem"].facts == OF.facts
    assert (called["random"].maximum, called["random"].rules.max_parameters) == (5, 20e6)
    assert called["random"].kinds == SearchSpace.image(OF).kinds


def test_without_random_no_space_is_needed(tmp_path: Path, called: dict[str, Any]) -> None:
    finished(tmp_path / "run", made_up(12), OF)
    assert main(["compare", str(tmp_path / "run"), *DATA, "--with", "vgg16", "--retrain", "1", "--seeds", "5"]) == 0
    assert called["random"] is None
    assert (called["factor"], called["seeds"]) == ([1.0], 5)
    assert main(["compare", str(tmp_path / "run"), *DATA, "--retrain", "2", "8", "--with", "vgg16"]) == 0
    assert called["factor"] == [2.0, 8.0]
