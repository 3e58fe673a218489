"""What is done on news costs a small share of the time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from menndl_dask.errors import RunError
from menndl_dask.problem import Limits
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import frozen_settings
from menndl_dask.search import throttle
from menndl_dask.search.throttle import Throttle
from tests.evaluations import SPACE


def test_the_share_of_time_that_a_report_may_take_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.freeze(frozen_settings(None, SPACE, 0, Limits(), {}))
    clock, calls = [0.0], []

    def slow(run: Run) -> None:
        calls.append(clock[0])
        clock[0] += 0.5

    monkeypatch.setattr(throttle.time, "monotonic", lambda: clock[0])
    report = Throttle(slow, tmp_path)
    while clock[0] < 200:
        report(clock[0])
        clock[0] += 0.1
    assert 0.5 * len(calls) <= 0.0251 * clock[0]
    assert all(later - earlier >= 25 for earlier, later in pairwise(calls))


def test_an_error_of_the_user_is_said_in_a_line_and_the_action_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.freeze(frozen_settings(None, SPACE, 0, Limits(), {}))
    calls = []

    def full(run: Run) -> None:
        calls.append(run)
        raise RunError("report.html: cannot be written: No space left on device")

    report = Throttle(full, tmp_path)
    for now in (1.0, 1e9):
        report(now)
    assert len(calls) == 2
    assert "No space left" in caplog.text
    assert "Traceback" not in caplog.text
