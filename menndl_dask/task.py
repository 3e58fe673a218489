"""The training request: one evaluation as it travels from the worker to the training process. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menndl_dask.problem import Limits
from menndl_dask.rung import Threshold


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One evaluation, in plain values.

    Parameters
    ----------
    genome, problem
        As dicts: a user's own gene kinds are looked up in the training process only.
    limits
        Time and memory that the evaluation may use.
    seed
        Seed of weights, dropout and the order of the samples.
    scratch
        Directory shared by the processes of the node; set once the samples are staged.
    data
        Directory in it with the staged splits.
    save
        Path of the ``.keras`` file to write, if any.
    save_above
        Fitness above which it is written; None for any.
    test
        Whether the test split is scored too.
    thresholds
        What the network must have reached at the rungs.
    checkpoint
        Path of the checkpoint from which the training is resumed, and to which it is written; None for none.
    path
        Import path of the user's modules: that of the worker when the request is made, because modules may have been
        uploaded to it since the trainer was started.
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
    thresholds: tuple[Threshold, ...] = ()
    checkpoint: str | None = None
    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))

    def partial_path(self, process: int) -> Path | None:
        """Return the path to which a process writes the network before it is complete."""
        if self.save is None:
            return None
        target = Path(self.save)
        return target.with_name(f".{target.stem}.{process}.partial.keras")

    def partial_checkpoint(self, process: int) -> Path | None:
        """Return the path to which a process writes a checkpoint before it is complete."""
        return None if self.checkpoint is None else Path(f"{self.checkpoint}.{process}.partial")
