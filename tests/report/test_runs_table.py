"""Several runs side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from menndl_dask.report.runs_table import compare_runs
from menndl_dask.result import Result
from menndl_dask.run.recorder import Compared
from tests import stories
from tests.runs import finished, made_up


def test_each_run_has_a_row_and_what_differs_is_said(tmp_path: Path) -> None:
    first = finished(tmp_path / "first", made_up(12))
    best = first.best().individual
    first.compare(
        Compared("network", best, 4.0, Result(0.7, costs={"parameters": 1200.0}, metrics={"test_mean_iou": 0.65}))
    )
    second = finished(tmp_path / "second", made_up(6), replace(stories.STEM, metric="mean_dice"))
    table, *notes, conclusions = map(str, compare_runs([first, second]))
    rows = table.splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["first", "12"], ["second", "6"]]
    assert "0.6500" in rows[1]
    assert "1.20 k" in rows[1]
    assert notes == ["note: the runs have different metrics: their scores cannot be compared as they are"]
    assert conclusions.startswith("first: ")
    assert "second: not tested yet" in conclusions
