"""The benchmark of islands compares what it says, on a budget that says nothing."""

from __future__ import annotations

import pytest

from benchmarks.islands import main


def test_islands_are_compared_with_one_search(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--landscapes", "1", "--evaluations", "60", "--islands", "2", "--every", "5", "--count", "2"]
    assert main([*words, "--no-screen"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:36].strip() for line in lines] == [
        "2 islands, no exchange", "one search", "2 islands, 2 every 5 results"
    ]  # fmt: skip
    assert all(0.2 <= float(line[36:].split()[0]) <= 1 for line in lines)
