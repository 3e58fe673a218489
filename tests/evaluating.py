"""Programs that evaluate, for tests of what a process loads and what it leaves behind: ``python -m tests.evaluating``.

The arguments are ``cluster``, ``endless``, ``late`` or ``nanny``, a data set and a directory for scratch.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from pathlib import Path

from distributed import Client, LocalCluster, wait

from menndl_dask.data.data import open_problem
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Budget


def frameworks() -> list[str]:
    """Return the frameworks that this process has loaded."""
    return sorted({"keras", "tensorflow", "jax", "torch"}.intersection(sys.modules))


def on_a_cluster(individual: Individual, data: Path, scratch: Path) -> None:
    """Evaluate in a Dask worker under a nanny, and print what came, where, and what is loaded there and here."""
    problem = open_problem(data, budget=Budget(epochs=2))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        result = client.submit(evaluate, individual, problem, scratch=scratch).result()
        (worker,) = client.run(frameworks).items()
        print(result.failure, result.worker == worker[0], worker[1], frameworks())  # noqa: T201


def late(individual: Individual, data: Path, scratch: Path) -> None:
    """Evaluate, and be killed at the end after seconds, as by a nanny on a busy machine."""
    print(evaluate(individual, open_problem(data, budget=Budget(epochs=2)), scratch=scratch).failure)  # noqa: T201
    atexit.register(os.kill, os.getpid(), signal.SIGKILL)
    atexit.register(time.sleep, 4)


def endlessly(individual: Individual, data: Path, scratch: Path) -> None:
    """Evaluate for ever."""
    evaluate(individual, open_problem(data, budget=Budget(epochs=1e9, early_stopping=False)), scratch=scratch)


def under_a_nanny(individual: Individual, data: Path, scratch: Path) -> None:
    """Evaluate until killed, which kills the nanny of the worker."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        wait(client.submit(endlessly, individual, data, scratch))


if __name__ == "__main__":
    MODES = {"cluster": on_a_cluster, "endless": endlessly, "late": late, "nanny": under_a_nanny}
    MODES[sys.argv[1]](Individual(0, Genome((Convolution(4),))), Path(sys.argv[2]), Path(sys.argv[3]))
