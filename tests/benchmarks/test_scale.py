"""The benchmarks of the driver's loop measure what they say, on budgets that prove nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale import main

ROOT = Path(__file__).parents[2]


def test_idle_gaps_of_many_workers_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--workers", "2", "--rate", "20", "--evaluations", "20"])
    lines = capsys.readouterr().out.splitlines()
    figures = [float(cell) for cell in lines[2].split("|")[1:-1]]
    assert 0 < figures[0] < 25  # evaluations per second
    assert 0 <= figures[4] <= figures[6]  # p50, p99
    assert lines[-1].startswith("2 workers, 20 evaluations/s asked for; Python 3")


def test_memory_is_measured_over_the_quarters_of_a_run_also_of_a_script_that_is_a_file(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "search_overhead.py")
    command = [sys.executable, script, "--no-screen", "--evaluations", "40", "--workers", "1"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400)
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 2 + 4
    assert "after the first quarter, an evaluation: driver" in lines[-1]
