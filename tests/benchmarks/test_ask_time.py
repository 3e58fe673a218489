"""The benchmark of the time of an ask prints a figure for each number of results."""

from __future__ import annotations

import pytest

from benchmarks.ask_time import main


def test_the_time_of_an_ask_is_measured_after_each_number_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", "100", "30", "--asks", "10", "--workers", "3", "--landscapes", "few slots"]) == 0
    first, _, row, *_ = capsys.readouterr().out.splitlines()
    assert first.split(" | ")[1:] == ["30", "100 |"]
    name, *figures = row.strip("| ").split(" | ")
    assert name == "few slots"
    assert all(0 < float(ms) < 1000 for ms in figures)
