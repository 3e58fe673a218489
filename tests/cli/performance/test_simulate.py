"""`menndl simulate` answers with a table, and refuses what makes no sense in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.cli.cli import main
from tests import runs, stories


def test_islands_are_compared_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", "--workers", "12", "--evaluations", "60", "--minutes", "1", "--islands", "1", "2"]
    assert main([*words, "--per-node", "3", "--sample", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "simulated: 60 evaluations on 12 workers, of 1 min on average, log-normal, spread 0.5" in lines
    rows = [line.split() for line in lines if line.startswith(("  1 ", "  2 "))]
    assert [row[:2] for row in rows] == [["1", "12"], ["2", "6"], ["1", "4"], ["2", "2"]]


def test_the_times_of_a_run_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs.finished(tmp_path / "run", stories.evaluations(10))
    words = ["simulate", "--workers", "4", "--evaluations", "20", "--sample", "8", "--islands", "1"]
    assert main([*words, "--from", str(run.path)]) == 0
    assert "as long as 10 evaluations of a run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0", "--evaluations", "5"], "--workers: expected a number > 0, got 0"),
        (["--workers", "5", "--evaluations", "5", "--islands", "-1"], "--islands: expected a number > 0, got -1"),
        (
            ["--workers", "5", "--evaluations", "5", "--islands", "6"],
            "--islands: expected at most one for each of 5 workers, got 6",
        ),
        (["--workers", "5", "--evaluations", "5", "--spread", "-1"], "--spread: expected a number ≥ 0, got -1"),
        (["--workers", "5", "--evaluations", "99000000"], "--evaluations: expected at most 20,000,000, got 99,000,000"),
    ],
)
def test_numbers_out_of_range_are_told_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *words]) != 0
    assert capsys.readouterr().err.strip().endswith(message)
