"""A script's or the command line's way in: one set of options, and the main job from data to proof. Runs on the driver.

The main job: start a cluster, search, train the best network and the standard network at a longer, equal budget,
measure both on the held-out test split, write the table and the report.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TextIO

from distributed import Client

from menndl_dask.baseline import standard_network
from menndl_dask.cluster import load_cluster
from menndl_dask.errors import MenndlError, UserError
from menndl_dask.evaluation import evaluate
from menndl_dask.individual import Individual
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.report import write_report
from menndl_dask.result import Result
from menndl_dask.search import Search
from menndl_dask.space import SearchSpace
from menndl_dask.store import Run

_DEFAULTS: dict[str, Any] = {
    "run": "runs/search",
    "cluster": "local",
    "workers": None,
    "evaluations": None,
    "hours": None,
    "epochs": None,
    "steps": None,
    "seconds": None,
    "batch_size": 32,
    "retrain": 4.0,
    "time_limit": 600.0,
    "memory_limit": 4.0,
    "seed": 0,
}
_HELP = {
    "run": ("DIR", "run directory; the same command again carries on"),
    "cluster": ("PROFILE", "cluster profile: a file, or the name of one that is shipped"),
    "workers": ("N", "worker processes of a local cluster; by default one for each core"),
    "evaluations": ("N", "networks to evaluate, those of an earlier start included"),
    "hours": ("H", "hours to search"),
    "epochs": ("N", "budget of a network: passes over the training split"),
    "steps": ("N", "budget of a network: optimiser steps"),
    "seconds": ("S", "budget of a network: seconds of training"),
    "batch_size": ("N", "samples in a step"),
    "retrain": ("X", "the best and the standard network are trained X times the budget; 0: not at all"),
    "time_limit": ("S", "seconds an evaluation may take, start-up and compilation included"),
    "memory_limit": ("GB", "resident memory an evaluation may use"),
    "seed": ("N", "seed of everything random"),
}
_TYPES: dict[str, Callable[[str], Any]] = {
    "run": Path,
    "cluster": str,
    "workers": int,
    "evaluations": int,
    "hours": float,
    "epochs": float,
    "steps": int,
    "seconds": float,
    "batch_size": int,
    "retrain": float,
    "time_limit": float,
    "memory_limit": float,
    "seed": int,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What scripts and the command line let a user choose; see `add_options`."""

    run: Path
    cluster: str = "local"
    workers: int | None = None
    evaluations: int | None = None
    hours: float | None = None
    budget: Budget = Budget(epochs=10)
    retrain: float = 4.0
    limits: Limits = Limits()
    seed: int = 0

    @classmethod
    def read(cls, given: argparse.Namespace) -> Self:
        """Read the options from parsed arguments.

        Raises
        ------
        UserError
            If neither evaluations nor hours are given, or a number is out of range.
        """
        if given.evaluations is None and given.hours is None:
            raise UserError("expected --evaluations or --hours (or both), got neither")
        for name in ("workers", "evaluations", "hours", "time_limit", "memory_limit"):
            value = getattr(given, name)
            if value is not None and value <= 0:
                raise UserError(f"--{name.replace('_', '-')}: expected a number > 0, got {value}")
        units = {name: getattr(given, name) for name in ("epochs", "steps", "seconds")}
        budget = Budget(**units, batch_size=given.batch_size)
        limits = Limits(given.time_limit, int(given.memory_limit * 1e9))
        return cls(
            Path(given.run), given.cluster, given.workers, given.evaluations, given.hours, budget, given.retrain,
            limits, given.seed,
        )


def add_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options that every workflow has, with a script's own defaults.

    Parameters
    ----------
    parser
        The script's parser.
    defaults
        Values that differ from the usual defaults, by the option's name.
    """
    group = parser.add_argument_group("search")
    for name, (metavar, text) in _HELP.items():
        default = defaults.get(name, _DEFAULTS[name])
        shown = text if default is None else f"{text} (default: {default})"
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=_TYPES[name], default=default, metavar=metavar, help=shown)


def guarded(main: Callable[[], int]) -> int:
    """Run a script's main function; an error of ours is one line on the terminal, not a traceback."""
    try:
        return main()
    except MenndlError as error:
        sys.stderr.write(f"{Path(sys.argv[0]).name}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command carries on\n")
        return 130
