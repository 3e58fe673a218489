"""``menndl status --json``: the state of a run as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.cli.following.run_state import RunState, _deadline, sparkline
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from tests.runs import finished, made_up


def test_the_state_of_a_run_is_told_to_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path, made_up(12))
    assert main(["status", str(tmp_path), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    best = run.best()
    assert state["best"] == {"fitness": best.result.fitness, "network": best.individual.id}
    assert (state["evaluations"], state["driver"], state["seconds_left"]) == (12, None, None)
    assert sum(state["failures"].values()) + state["stopped_early"] == sum(not r.succeeded for _, r in run.evaluations)
    assert main(["status", str(tmp_path / "nowhere"), "--json"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_rate_and_the_page_are_those_of_the_driver_that_runs(tmp_path: Path) -> None:
    finished(tmp_path, [])
    with Recorder(tmp_path) as driver:
        driver.started(evaluations=24, hours=None, host="node7", dashboard="http://127.0.0.1:4711/status")
        evaluations = made_up(12)
        driver.asked([individual for individual, _ in evaluations])
        driver.completed(evaluations)
        state = RunState.read(tmp_path)
        assert state.to_dict()["per_hour"] > 0
        assert state.to_dict()["driver"] is not None
        assert state.tunnel() == "ssh -N -L 4711:127.0.0.1:4711 node7"
        assert state.bests == sorted(state.bests)
    assert RunState.read(tmp_path).tunnel() == ""


def test_a_search_with_hours_alone_has_a_time_left_that_counts_earlier_starts(tmp_path: Path) -> None:
    finished(tmp_path, [])
    with Recorder(tmp_path) as driver:
        driver.started(evaluations=None, hours=2)
        driver.ended()
        driver.started(evaluations=None, hours=2)
        left = RunState.read(tmp_path).to_dict()["seconds_left"]
    assert 7100 < left <= 7200
    run = Run(tmp_path)
    earlier = SimpleNamespace(searched=[(100.0, 1900.0), (4000.0, 4100.0)])
    assert _deadline(earlier, 4000.0, 2) == 4000 + 7200 - 1800  # type: ignore[arg-type]
    assert _deadline(run, 0.0, 2) is None


def test_a_sparkline_is_no_wider_than_asked_for() -> None:
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
    long = sparkline([n / 1000 for n in range(1000)], 24)
    assert (len(long), long[0], long[-1]) == (24, "▁", "█")
