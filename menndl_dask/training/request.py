"""The training request: one evaluation as it travels from the worker to the training process. Pure."""

from __future__ import annotations

import errno
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.problem import Limits


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a network must have reached at a rung, as it travels with a request."""

    share: float  # of the budget: the rung
    fitness: float  # below it a training ends
    why: str
    # with several objectives: only networks that cost as much in all of them, or more, are stopped
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
    """One evaluation, in plain values; see `menndl_dask.evaluate`."""

    genome: dict[str, Any]  # as a dict: a user's own gene kinds are looked up in the training process only
    problem: dict[str, Any]
    limits: Limits
    seed: int
    scratch: str = ""  # directory shared by the processes of the node; set once the samples are staged
    data: str = ""  # directory in it with the staged splits
    save: str | None = None
    save_above: float | None = None
    test: bool = False
    test_sums: str | None = None  # file for what the test score of each sample is computed from
    examples: str | None = None  # file for pictures of some samples of the test split
    thresholds: tuple[Threshold, ...] = ()
    checkpoint: str | None = None
    gpu_bytes: float | None = None  # of a GPU's memory; None for what the environment says
    trained: str | None = None  # path of the network, already trained: it is only measured
    # import path of the user's modules: that of the worker when the request is made, because modules may have been
    # uploaded to it since the trainer was started
    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))

    token: str = field(default_factory=lambda: secrets.token_hex(8))  # in hidden names, so that none can be guessed

    @property
    def partial_path(self) -> Path | None:
        """The path to which the network is written before it is complete."""
        if self.save is None:
            return None
        target = Path(self.save)
        return target.with_name(f".{target.stem}.{self.token}.partial.keras")

    @property
    def partial_checkpoint(self) -> Path | None:
        """The path to which a checkpoint is written before it is complete."""
        return None if self.checkpoint is None else Path(f"{self.checkpoint}.{self.token}.partial")

    def remove_partial(self) -> None:
        """Remove what the training has left of writing its network and its checkpoint; it has ended."""
        for partial in (self.partial_path, self.partial_checkpoint):
            if partial is not None:
                with suppress(OSError):  # such as where its folder could not be made
                    partial.unlink()


def make_network_folder(path: Path) -> None:
    """Make the folder of a network, such as ``networks/00000007``, and the one above; the run itself may have moved.

    Raises
    ------
    OSError
        If it cannot be made, or is a symbolic link in a run directory, which could lead anywhere.
    """
    path.parent.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)
    own = [path, path.parent] if path.parent.name == "networks" else [path] if path.name == "standard" else []
    if any(folder.is_symlink() for folder in own):
        raise OSError(errno.ELOOP, "expected a folder of the run, got a symbolic link", str(path))
