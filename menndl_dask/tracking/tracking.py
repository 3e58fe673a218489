"""Results of a search, passed on to a program that tracks experiments as they arrive. Runs on the driver.

Each evaluation is a step: its fitness, the best so far, costs, and seconds of each phase. A search that is carried on
passes on all its results again, as a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from menndl_dask.errors import UserError, nearest
from menndl_dask.genome.individual import Evaluation
from menndl_dask.run.run import Run

Log = Callable[[int, Mapping[str, float]], object]
"""Takes the number of an evaluation and its values by their names."""


class Tracking:
    """Passes on new results of a run; give it to `Search.run` as ``on_change``.

    Parameters
    ----------
    log
        Called with each evaluation.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._done = 0
        self._best: float | None = None

    def __call__(self, run: Run) -> None:
        """Pass on the results that have arrived since the last call."""
        for evaluation in islice(iter(run.evaluations), self._done, None):
            fitness = evaluation[1].fitness
            if fitness is not None and (self._best is None or fitness > self._best):
                self._best = fitness
            self._log(self._done, values_of(evaluation, self._best))
            self._done += 1


def values_of(evaluation: Evaluation, best: float | None = None) -> dict[str, float]:
    """Return the numbers of an evaluation by their names, such as ``cost/parameters``.

    >>> from menndl_dask.genome.genome import Genome
    >>> from menndl_dask.genome.individual import Individual
    >>> from menndl_dask.result import Result
    >>> values_of((Individual(0, Genome(())), Result(0.5, costs={"parameters": 10.0})), best=0.75)
    {'fitness': 0.5, 'best': 0.75, 'failed': 0.0, 'cost/parameters': 10.0}
    """
    _, result = evaluation
    known = {"fitness": result.fitness, "best": best, "failed": float(result.failure is not None)}
    found = {name: value for name, value in known.items() if value is not None}
    for prefix, values in (("cost", result.costs), ("metric", result.metrics), ("seconds", result.times)):
        found |= {f"{prefix}/{name}": float(value) for name, value in values.items()}
    return found


def tracking(name: str, run: Path) -> Tracking:
    """Return what passes on the results of a run to ``tensorboard``, ``mlflow`` or ``wandb``.

    Raises
    ------
    UserError
        If the name is another one, or the library is not installed.
    """
    if name not in _LOGS:
        raise UserError(f"track: expected one of {', '.join(_LOGS)}, got {name!r}{nearest(name, _LOGS)}")
    return Tracking(_LOGS[name](run))


def library(name: str) -> Any:
    """Import an optional library; raises `UserError` with the command that installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{package} is not installed: pip install {package}") from error


def _tensorboard(run: Path) -> Log:
    """Return what writes event files into the folder ``tensorboard`` of the run."""
    import sys

    # without it TensorBoard loads TensorFlow, which a driver does not
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    files = library("tensorboard.summary.writer.event_file_writer")
    events = library("tensorboard.compat.proto.event_pb2")
    summaries = library("tensorboard.compat.proto.summary_pb2")
    writer = files.EventFileWriter(str(run / "tensorboard"), flush_secs=10)

    def log(step: int, values: Mapping[str, float]) -> None:
        each = [summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        writer.add_event(events.Event(step=step, summary=summaries.Summary(value=each)))
        writer.flush()

    return log


def _mlflow(run: Path) -> Log:
    """Return what logs to the MLflow server that ``MLFLOW_TRACKING_URI`` names."""
    mlflow = library("mlflow")
    begun = mlflow.start_run(run_name=run.name)

    def log(step: int, values: Mapping[str, float]) -> None:
        mlflow.log_metrics(dict(values), step=step, run_id=begun.info.run_id)

    return log


def _wandb(run: Path) -> Log:
    """Return what logs to Weights & Biases; ``WANDB_MODE=offline`` keeps it in the run directory."""
    begun = library("wandb").init(project="menndl_dask", name=run.name, dir=str(run))

    def log(step: int, values: Mapping[str, float]) -> None:
        begun.log(dict(values), step=step)

    return log


_LOGS: Mapping[str, Callable[[Path], Log]] = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
TRACKERS = tuple(_LOGS)
