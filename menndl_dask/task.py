"""A task: one evaluation as it travels from the worker through the trainer to the training process. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menndl_dask.problem import Limits
from menndl_dask.rung import Bar


@dataclass(frozen=True, slots=True)
class Task:
    """One evaluation, in plain values.

    Parameters
    ----------
    genome, problem
        As dicts: a user's own gene kinds are looked up in the training process alone.
    limits
        What the evaluation may use.
    seed
        Of weights, dropout and the order of the samples.
    scratch
        Directory shared by the processes of the node; set when the samples are staged.
    data
        Directory in it with the staged splits.
    save
        Where the network is written, or nothing.
    save_above
        Fitness that must be exceeded for that.
    test
        Whether the test split is measured too.
    bars
        What the network must have reached at rungs on the way.
    checkpoint
        File from which the training goes on if another process had begun it, or nothing.
    path
        Where the user's modules are imported from: the worker's path when the task is made, because modules may have
        been uploaded to it since the trainer was started.
    """

    genome: dict[str, Any]
    problem: dict[str, Any]
    limits: Limits
    seed: int
    scratch: str = ""
    data: str = ""
    save: str | None = None
    save_above: float | None = None
    test: bool = False
    bars: tuple[Bar, ...] = ()
    checkpoint: str | None = None
    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))

    def aside(self, process: int) -> Path | None:
        """Return where a process writes the network before it gets its name."""
        if self.save is None:
            return None
        target = Path(self.save)
        return target.with_name(f".{target.stem}.{process}.partial.keras")

    def checkpoint_aside(self, process: int) -> Path | None:
        """Return where a process writes a checkpoint before it gets its name."""
        return None if self.checkpoint is None else Path(f"{self.checkpoint}.{process}.partial")
