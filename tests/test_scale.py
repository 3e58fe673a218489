"""The benchmark of scale measures what it says, on budgets that say nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.beside import OTHERS
from benchmarks.scale import OURS, Measured, main, table

ROOT = Path(__file__).parents[1]


def test_gaps_of_many_workers_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    main(["gap", "--workers", "2", "--rate", "20", "--evaluations", "20", "--beside", "0"])
    lines = capsys.readouterr().out.splitlines()
    figures = [float(cell) for cell in lines[2].split("|")[2:-1]]
    assert lines[2].startswith(f"| {OURS} |")
    assert 2 < figures[0] < 25  # evaluations a second
    assert 0 <= figures[4] <= figures[6] < 2000  # p50, p99
    assert lines[-1].startswith("2 workers, gap --workers 2 --rate 20")


def test_who_is_not_installed_is_named() -> None:
    other = next(iter(OTHERS))
    text = table({OURS: Measured(9.96, (1, 2, 3), np.array([0.1])), other: "not installed here (why)"}, has_gaps=True)
    assert "| menndl_dask | 10.0 | 1.00 | 2.00 | 3.00 | 100 | 100 | 100 |" in text
    assert text.endswith(f"\n\n{other}: not installed here (why)")


def test_memory_is_measured_over_the_quarters_of_a_run_also_of_a_script_that_is_a_file(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "memory", "--evaluations", "40", "--workers", "1"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 2 + 4
    assert "after the first quarter, an evaluation: driver" in lines[-1]
