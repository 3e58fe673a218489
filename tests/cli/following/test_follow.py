"""``menndl watch RUN``: a line that changes with the run, until it is no longer driven."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.cli.following import follow
from menndl_dask.run.recorder import Recorder
from tests.runs import finished, made_up


def test_a_run_is_followed_until_its_driver_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(tmp_path, [])
    evaluations = made_up(12)
    driver = Recorder(tmp_path)
    driver.started(evaluations=12, hours=None, host="node7", dashboard="http://127.0.0.1:4711/status")
    driver.asked([individual for individual, _ in evaluations])
    driver.completed(evaluations[:6])

    def sleep(seconds: float) -> None:
        assert seconds >= 2.0
        driver.completed(evaluations[6:])
        driver.close()

    monkeypatch.setattr(follow.time, "sleep", sleep)
    stream = io.StringIO()
    follow.follow(tmp_path, stream)
    first, last = stream.getvalue().splitlines()
    assert "menndl 6/12 evaluations" in first and "networks/h" in first
    assert "menndl 12/12 evaluations" in last and "█" in last
    said = capsys.readouterr().out
    assert "live page: http://127.0.0.1:4711/menndl on node7; from your machine: ssh -N -L 4711:127.0.0.1:4711" in said
    assert "its search is done; the last result came" in said


def test_what_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
