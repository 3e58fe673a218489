"""A run as a study of Optuna in an SQLite file, so that Optuna's dashboard opens it. Runs on the driver.

Each evaluation is a trial. Its parameters are what a list of numbers can say of a network: how many layers of each kind
it has. The genome, the parents and the costs are user attributes.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from menndl_dask.errors import UserError, one_line
from menndl_dask.genome.gene import kind_name
from menndl_dask.genome.individual import Evaluation
from menndl_dask.objective import FITNESS, Objectives
from menndl_dask.run.run import Run
from menndl_dask.tracking.tracking import library

_MOST_LAYERS = 10_000  # of a kind, for the distribution that Optuna records


def export_study(run: Run, path: Path) -> int:
    """Write a run as a study into a new SQLite file; return the number of trials.

    Raises
    ------
    UserError
        If Optuna is not installed, the file exists or cannot be written, or the run has no evaluation.
    """
    optuna = library("optuna")
    if path.exists():
        raise UserError(f"{path}: expected a new file, found an existing one; remove it or choose another name")
    names = run.problem.objectives if run.problem is not None else (FITNESS,)
    entries = list(iter(run.evaluations))
    if not entries:
        raise UserError(f"{run.path}: expected evaluations, got none yet")
    kinds = sorted({kind for individual, _ in entries for kind in _layers(individual)})
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    told_at, objectives = run.told_at, Objectives.of(names)
    trials = [_trial(optuna, n, one, kinds, objectives, told_at.get(one[0].id, 0.0)) for n, one in enumerate(entries)]
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{path.absolute()}",
            study_name=run.path.resolve().name,
            directions=["maximize" if name == FITNESS else "minimize" for name in names],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the dashboard shows these names
            study.set_metric_names(list(names))
        study.add_trials(trials)
    return len(entries)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell in a line why a study cannot be written, and remove what is written of it."""
    try:
        yield
    except Exception as error:
        cause = error
        while isinstance(cause.__cause__, Exception):  # SQLite's own, below those of two libraries
            cause = cause.__cause__
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {one_line(cause)}") from error


def _layers(individual: Any) -> Counter[str]:
    return Counter(kind_name(type(layer)) for layer in individual.genome.layers)


def _trial(
    optuna: Any, number: int, evaluation: Evaluation, kinds: Sequence[str], objectives: Objectives, end: float
) -> Any:  # fmt: skip
    """Return an evaluation as a finished trial."""
    individual, result = evaluation
    values, states = objectives.values(result), optuna.trial.TrialState
    state = states.COMPLETE if values is not None else states.PRUNED if result.failure == "pruned" else states.FAIL
    found = [v if name == FITNESS else -v for name, v in zip(objectives.names, values, strict=True)] if values else None
    ended = datetime.fromtimestamp(end)  # noqa: DTZ006 - Optuna takes local time
    layers = _layers(individual)
    distribution = optuna.distributions.IntDistribution(0, _MOST_LAYERS)
    single = len(objectives.names) == 1
    # several objectives have no intermediate values there
    curve = {int(n): point["fitness"] for n, point in enumerate(result.curve) if single and "fitness" in point}
    attributes = {
        "network": individual.id, "parents": list(individual.parents), "origin": individual.origin,
        "failure": result.failure, "message": result.message, "worker": result.worker,
        "costs": dict(result.costs), "genome": json.dumps(individual.genome.to_dict()),
    }  # fmt: skip
    return optuna.trial.FrozenTrial(
        number=number, trial_id=number, state=state, value=None, values=found,
        datetime_start=ended - timedelta(seconds=result.times.get("total", 0.0)), datetime_complete=ended,
        params={kind: layers[kind] for kind in kinds}, distributions=dict.fromkeys(kinds, distribution),
        user_attrs=attributes, system_attrs={}, intermediate_values=curve,
    )  # fmt: skip
