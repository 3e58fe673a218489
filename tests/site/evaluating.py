"""Evaluations on a real Slurm: they say where they ran, and leave a line for each time that one has run to its end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from tests.spaces import toy_result

SECONDS = 0.25


def located(individual: Individual, problem: Any, limits: Any, *, save: str, **_: Any) -> Result:
    """Take a moment, and say on which node and with which GPUs."""
    time.sleep(SECONDS)
    gpus = {name: os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")}
    seen = ":".join([os.environ.get("SLURMD_NODENAME", "none"), *gpus.values()])
    with (Path(save).parents[2] / "done").open("a") as done:
        done.write(f"{individual.id} {seen}\n")
    return Result.from_dict(toy_result(individual).to_dict() | {"worker": seen, "times": {"total": SECONDS}})


def done(run: Path) -> list[int]:
    """Return the numbers of the individuals whose evaluations have run to their ends, each time that one has."""
    file = run / "done"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def finished(number: int, directory: str) -> int:
    """Return the number, and leave a file for each time that it was asked for."""
    folder = Path(directory)
    folder.mkdir(exist_ok=True)
    (folder / f"{number}-{os.urandom(4).hex()}").touch()
    return number
