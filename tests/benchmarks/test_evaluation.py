"""The benchmark of evaluation: its contestants with the whole machine, on real trainings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "evaluation.py"


@pytest.mark.trainings
def test_everybody_trains_the_same_networks_with_the_whole_machine() -> None:
    options = ["--machine", "--networks", "2", "--together", "1", "--epochs", "1", "--only", "local"]
    command = [sys.executable, str(SCRIPT), "digits", *options]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500).stdout
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if "|" in line][2:]
    names = [row[0].strip().partition(",")[0] for row in rows]
    assert names == ["**ours**", "one process"]
    rates, ratios = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert ratios[1] == 1.0
    assert abs(rates[0] / rates[1] - ratios[0]) < 0.02 * ratios[0] + 0.02
    assert all(0.0 <= float(row[4]) <= 1.0 for row in rows)
