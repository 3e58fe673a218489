"""Others that search over Dask, for `scale.py`: LEAP's asynchronous steady state, and Optuna with its storage in Dask.

    pip install leap_ec optuna optuna-integration

Both get the same cluster and as many evaluations in flight as there are workers. What they evaluate is a handful of
numbers, which is less than a network; their results are one number and no record is kept on the disk.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, get_worker, wait

_NUMBERS = 10  # that are searched for
_POPULATION = 30


@dataclass(frozen=True, slots=True)
class Noted:
    """An evaluation that sleeps, and notes in a file of its worker when it began and ended.

    Parameters
    ----------
    seconds
        How long it sleeps on average, a fifth more or less.
    folder
        Of the files.
    """

    seconds: float
    folder: Path

    def __call__(self, numbers: Sequence[float]) -> float:
        """Return the sum of the squares."""
        began = time.time()
        fitness = float(np.sum(np.square(numbers)))
        time.sleep(self.seconds * (0.8 + 0.4 * (fitness % 1)))
        worker = str(get_worker().name)
        with (self.folder / f"{worker}.txt").open("a") as file:
            file.write(f"{began!r} {time.time()!r}\n")
        return fitness

    def spans(self) -> dict[str, list[tuple[float, float]]]:
        """Return when the evaluations of each worker began and ended."""
        spans = {}
        for file in self.folder.glob("*.txt"):
            lines = (line.split() for line in file.read_text().splitlines())
            spans[file.stem] = [(float(began), float(ended)) for began, ended in lines]
        return spans


def leap(client: Client, evaluate: Noted, evaluations: int, workers: int) -> None:
    """Run LEAP's asynchronous steady state."""
    from leap_ec import ops
    from leap_ec.decoder import IdentityDecoder
    from leap_ec.distrib import asynchronous
    from leap_ec.distrib.individual import DistributedIndividual
    from leap_ec.problem import FunctionProblem
    from leap_ec.real_rep.initializers import create_real_vector
    from leap_ec.real_rep.ops import mutate_gaussian
    from leap_ec.representation import Representation

    bounds = [(0.0, 1.0)] * _NUMBERS
    asynchronous.steady_state(
        client,
        max_births=evaluations - workers,
        init_pop_size=workers,
        pop_size=_POPULATION,
        representation=Representation(
            initialize=create_real_vector(bounds), decoder=IdentityDecoder(), individual_cls=DistributedIndividual
        ),
        problem=FunctionProblem(evaluate, maximize=True),
        offspring_pipeline=[
            ops.random_selection,
            ops.clone,
            mutate_gaussian(std=0.1, bounds=bounds, expected_num_mutations=1),
            ops.pool(size=1),
        ],
    )


def optuna(client: Client, evaluate: Noted, evaluations: int, workers: int) -> None:
    """Run an Optuna study with its storage in Dask's scheduler, as its documentation has it: workers ask and tell."""
    import optuna as library
    from optuna_integration import DaskStorage

    def objective(trial: Any) -> float:
        library.logging.set_verbosity(library.logging.ERROR)  # of the worker
        return evaluate([trial.suggest_float(f"x{number}", 0.0, 1.0) for number in range(_NUMBERS)])

    library.logging.set_verbosity(library.logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DaskStorage is experimental")
        storage = DaskStorage(client=client)
    study = library.create_study(direction="maximize", storage=storage)
    counts = [evaluations // workers + (number < evaluations % workers) for number in range(workers)]
    futures = [client.submit(study.optimize, objective, n_trials=count, pure=False) for count in counts if count]
    wait(futures)
    for future in futures:
        future.result()


OTHERS: dict[str, Callable[[Client, Noted, int, int], None]] = {
    "LEAP, asynchronous steady state": leap,
    "Optuna, DaskStorage": optuna,
}
