"""The main job with islands: who starts whom, who compares, and what is submitted. Nothing is trained here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from menndl_dask import workflow
from menndl_dask.cli.cli import main
from menndl_dask.cluster.profile import Local
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.result import Result
from menndl_dask.run.layout import folder_of, island_of
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import frozen_settings
from menndl_dask.search.detached_driver import Detached
from menndl_dask.search.islands import supervisor
from menndl_dask.search.islands.migration import prepare_run
from menndl_dask.search.islands.supervisor import Command
from menndl_dask.search.plan import plan
from menndl_dask.search.plan.trial import Trial
from menndl_dask.search.search import Search
from tests import stores
from tests.queues import Queue

OPTIONS = ("--run", "run", "--evaluations", "6", "--epochs", "1", "--max-layers", "3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stores.write(stores.classification(60), tmp_path / "data.zarr")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Loaded(nullcontext[Any]):
    """A cluster that is not started."""

    description = ""


@pytest.fixture
def compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Return the runs that are compared; a search writes two results and ends."""

    def search(self: Search, client: object, **_: Any) -> None:
        settings = frozen_settings(self.problem, self.space, self.seed, self.limits, self.settings)
        prepare_run(self.whole, self.island, settings)
        with Recorder(self.path) as recorder:
            recorder.freeze(settings)
            for individual in Evolution(self.space, first=getattr(self.evolution, "first", 0)).ask(2):
                recorder.asked([individual])
                recorder.completed([(individual, Result(0.5 + individual.id / 1e9, costs={"parameters": 10.0}))])

    compared: list[Run] = []
    client = SimpleNamespace(scheduler=None, status="closed")
    cluster = SimpleNamespace(client=lambda: nullcontext(client), live=None, profile=Local())
    monkeypatch.setattr(plan, "run_trial", lambda *_: Trial(0.1, 5.0))
    monkeypatch.setattr(Search, "run", search)
    monkeypatch.setattr(workflow, "load_cluster", lambda *_, **__: Loaded(cluster))
    monkeypatch.setattr(workflow, "compare", lambda run, client, **_: compared.append(run))
    return compared


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["menndl", *words])
    return main(words)


def in_this_process(
    monkeypatch: pytest.MonkeyPatch, seen: list[Command]
) -> Callable[[Path, Mapping[str, Any], Mapping[int, Command]], str | None]:
    """Return a stand-in for `archipelago.supervise` that runs one driver after the other here."""

    def search(run: Path, settings: Mapping[str, Any], commands: Mapping[int, Command], **_: Any) -> str | None:
        with Recorder(run) as recorder:
            recorder.freeze(settings)
        monkeypatch.setattr(supervisor, "is_supervised", lambda: True)
        for command in commands.values():
            seen.append(command)
            assert typed(monkeypatch, *command.words[3:]) == 0
        return None

    return search


def test_drivers_are_started_with_the_same_command_and_one_comparison_is_made(
    compared: list[Run], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Command] = []
    monkeypatch.setattr(supervisor, "supervise", in_this_process(monkeypatch, seen))
    status = typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--islands", "3", "--workers", "4")
    again = [sys.executable, "-m", "menndl_dask.cli", "search", "data.zarr", *OPTIONS, "--workers", "4"]
    assert [command.words for command in seen] == [
        [*again, "--island", str(island), "--workers", str(workers)] for island, workers in enumerate((2, 1, 1))
    ]
    assert [run.path for run in compared] == [Path("run")]
    assert status == 1  # nothing was trained, so nothing is kept
    run = Run("run")
    assert {island_of(individual) for individual, _ in run.evaluations} == {0, 1, 2}
    assert run.settings["arguments"] == ["search", "data.zarr", *OPTIONS, "--islands", "3", "--workers", "4"]
    assert (folder / "run" / "run.zarr").is_dir()
    assert "network 20000001" in capsys.readouterr().out


def test_drivers_that_were_stopped_are_not_compared(compared: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--island", "0")
    compared.clear()
    monkeypatch.setattr(supervisor, "supervise", lambda *_, **__: "asked to stop")
    assert typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--islands=3") == 130
    assert compared == []


def test_of_drivers_that_are_started_one_by_one_the_last_compares_all(
    compared: list[Run], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Recorder(folder_of(folder / "run", 1)):
        assert typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--island", "0") == 0
    assert compared == []
    assert "done; the last island to end compares the networks of all" in capsys.readouterr().out
    assert typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--island", "1") == 1
    assert [run.path for run in compared] == [Path("run")]
    assert len(list(compared[0].evaluations)) == 4


def test_an_island_is_resumed_as_what_it_is(
    compared: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "search", "data.zarr", *OPTIONS, "--island", "1")
    assert main(["resume", "run"]) == 2
    assert "run: was begun by menndl search data.zarr" in capsys.readouterr().err
    assert main(["resume", "run/islands/01"]) == 1
    assert len(compared) == 2
    assert list(Path("run/islands").iterdir()) != []
    assert not Path("run/islands/01/islands").exists()


def test_an_island_is_one_and_has_a_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--island", "1", "--islands", "2"), ("--island", "-1")):
        assert main(["search", "data.zarr", *OPTIONS, *words]) == 2
        assert "--island: expected a number ≥ 0, and no --islands beside it" in capsys.readouterr().err
    assert main(["search", "data.zarr", *OPTIONS, "--islands", "0"]) == 2
    assert "--islands: expected a number > 0, got 0" in capsys.readouterr().err


def test_each_island_gets_a_driver_in_the_queue_and_all_are_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue("pbs", folder)
    queue.be_busy()
    monkeypatch.setenv("PATH", f"{queue.path}{os.pathsep}{os.environ['PATH']}")
    jobqueue = {"cores": 8, "memory": "8GB", "walltime": "01:00:00", "interface": "lo"}
    profile = {"kind": "pbs", "shared_directory": str(folder), "jobqueue": jobqueue}
    Path("pbs.yaml").write_text(yaml.safe_dump(profile))
    words = ("--cluster", "pbs.yaml", "--islands", "2", "--detach")
    assert typed(monkeypatch, "search", "data.zarr", *OPTIONS, *words) == 0
    assert "jobs 101, 102 search on; progress: menndl status run" in capsys.readouterr().out
    for island in range(2):
        detached = Detached.read(folder_of(folder / "run", island))
        assert detached is not None
        assert detached.command[-2:] == ("--island", str(island))
        assert not {"--islands", "--detach"} & set(detached.command)
    assert main(["status", "run"]) == 0
    assert "island 1:   in the queue: job 102" in capsys.readouterr().out
    assert main(["stop", "run"]) == 0
    assert "run/islands/01: no driver runs; cancelled 102" in capsys.readouterr().out
    queue.end()


def test_a_full_disk_ends_a_command_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fill() -> int:
        with Path("/dev/full").open("w") as file:
            file.write("a line")
        return 0

    assert workflow.guarded(fill) == 2
    assert capsys.readouterr().err.endswith(": No space left on device; make room, then the same command again\n")


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as with menndl check DATA | head

    def talk() -> int:
        print("a line")  # noqa: T201
        return 0

    with os.fdopen(writing, "w") as cut:
        monkeypatch.setattr(sys, "stdout", cut)
        assert workflow.guarded(talk) == 141
    assert capsys.readouterr().err == ""
