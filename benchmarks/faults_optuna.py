"""A driver with Optuna on Dask, for `faults.py`: ``python -m benchmarks.faults_optuna RUN JSON``.

The study is in an SQLite file behind a `DaskStorage`, so that the next start carries on. Each evaluation is a task of
its own: a larger ``n_trials`` in a task repeats all its trials when its worker is lost.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import optuna
from distributed import Client, wait
from optuna.trial import TrialState
from optuna_integration import DaskStorage

from tests.faults.evaluations import pretend


def url(run: Path) -> str:
    """Return the address of a run's storage."""
    return f"sqlite:///{run / 'study.db'}"


def main(run: Path, given: dict[str, Any]) -> None:
    """Evaluate as many trials as were asked for and are missing."""
    run.mkdir(exist_ok=True)

    def objective(trial: optuna.Trial) -> float:
        values = [trial.suggest_float(f"x{i}", -1.0, 1.0) for i in range(6)]
        pretend(given["marks"], trial.number, given["seconds"])
        return sum(values)

    with Client(scheduler_file=given["scheduler_file"]) as client:
        study = optuna.create_study(
            study_name="faults", storage=DaskStorage(url(run)), load_if_exists=True, direction="maximize"
        )
        missing = given["evaluations"] - len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        wait([client.submit(study.optimize, objective, n_trials=1, pure=False) for _ in range(missing)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
