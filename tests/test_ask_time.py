"""The benchmark of the time of an ask prints a figure for each number of results."""

from __future__ import annotations

import pytest

from benchmarks.ask_time import main


def test_the_time_of_an_ask_is_measured_after_each_number_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", "700", "30", "--asks", "20", "--landscapes", "few slots"]) == 0
    first, _, row, *_ = capsys.readouterr().out.splitlines()
    assert first.split(" | ")[1:] == ["30", "700 |"]
    name, *figures = row.strip("| ").split(" | ")
    assert name == "few slots"
    asked, prepared = zip(*([float(part) for part in figure.split(" + ")] for figure in figures), strict=True)
    assert all(0 < ms < 1000 for ms in (*asked, prepared[1]))  # with thirty results there is nothing to prepare yet
