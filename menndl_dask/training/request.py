"""The training request: one evaluation as it travels from the worker to the training process. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.problem import Limits


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a network must have reached at a rung, as it travels with a request.

    Parameters
    ----------
    share
        The rung: of the budget.
    fitness
        Below it a network ends.
    why
        In words.
    costs
        With several objectives: only networks that cost as much in all of them, or more, are stopped.
    """

    share: float
    fitness: float
    why: str
    costs: Mapping[str, float] = field(default_factory=dict)

    def stops(self, fitness: float, costs: Mapping[str, float]) -> bool:
        """Tell whether a network ends here; one whose costs are not known goes on.

        >>> threshold = Threshold(0.5, 0.8, "why", {"parameters": 1e4})
        >>> [threshold.stops(fitness, {"parameters": size}) for fitness, size in ((0.7, 2e4), (0.9, 2e4), (0.7, 9e3))]
        [True, False, False]
        """
        return fitness < self.fitness and all(costs.get(name, -np.inf) >= least for name, least in self.costs.items())


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
