"""The benchmark of inheritance: equal cost, the best trained from scratch, and a table of differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import inheritance
from benchmarks.inheritance import main
from menndl_dask.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result


def evaluated(individual: Individual, problem: Problem, limits: Limits, *, seed: int, **given: Any) -> Result:
    """Return a made-up result: better where weights are inherited, and always the same after a longer training."""
    epochs = problem.budget.epochs or 0
    if "parents" not in given:
        assert epochs == 8 or not problem.budget.inherit
    inherited = {str(number): 50 for number in given.get("parents", {})}
    fitness = 0.9 if epochs == 8 else 0.5 + 0.01 * len(inherited) + individual.id / 1e4
    costs, curve = {"parameters": 100.0, "train_seconds": 1.0}, ({"epoch": epochs, "share": 1.0, "fitness": fitness},)
    return Result(fitness, costs=costs, curve=curve, inherited=inherited)


def test_searches_of_equal_cost_are_compared_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inheritance, "evaluate", evaluated)
    words = ["--seeds", "2", "--epochs", "2", "--cost", "40", "--keep", str(tmp_path / "kept.jsonl")]
    assert main(words) == 0
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines()[2:]]
    assert [row[:4] for row in rows] == [
        ["2", "no", "2", "20"], ["2", "yes", "2", "20"], ["2", "difference", "2", ""]
    ]  # fmt: skip
    assert rows[0][5] == "0%" and rows[1][5] != "0%"
    assert float(rows[2][6].split()[0]) > 0
    assert rows[2][7] == "+0.0000 ± 0.0000"
    monkeypatch.setattr(inheritance, "evaluate", None)  # nothing is done twice
    assert main(words) == 0
    assert capsys.readouterr().out == said
