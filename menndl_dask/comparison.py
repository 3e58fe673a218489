"""The comparison: a run's best networks and the standard one, trained alike and tested. Runs on the driver.

Short trainings rank networks with noise, so that some finalists are trained for longer, beside the standard network
with the same budget. The validation split chooses the winner; the test split, which nothing was chosen by, is only
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, as_completed

from menndl_dask.baseline import standard_network
from menndl_dask.errors import UserError
from menndl_dask.evaluation import evaluate
from menndl_dask.flight import accepted
from menndl_dask.individual import Evaluation, Individual, ranked
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result
from menndl_dask.store import STANDARD_ID, Compared

Evaluate = Callable[..., Result]
_UNTRAINED = Result.failed("error", "not trained yet")


def plan(problem: Problem, finalists: Sequence[Evaluation], factor: float) -> list[Compared]:
    """Return what is to be trained for a comparison, with results that are still to come.

    Parameters
    ----------
    problem
        What the networks are for, with the budget of the search.
    finalists
        The best of the search.
    factor
        Times the budget of the search that they are trained for; 0: not at all.

    Returns
    -------
    list
        The standard network at the search's own budget, the finalists, and the standard network trained as they are.
    """
    standard = _standard(problem)
    planned = [Compared(name, individual, 1.0, _UNTRAINED) for name, individual in standard]
    if factor > 0:
        alike = [(f"network {individual.id}", individual) for individual, _ in finalists] + standard
        longer = "" if factor == 1 else f" (budget × {factor:g})"
        planned += [Compared(f"{name}{longer}", individual, factor, _UNTRAINED) for name, individual in alike]
    # at the search's own budget the standard network is in both parts
    return list({(c.individual.id, c.factor): c for c in planned}.values())


def finalists(evaluations: Iterable[Evaluation], problem: Problem, count: int) -> list[Evaluation]:
    """Return the fittest networks of a search; the standard one, which a search may begin with, is no finalist.

    Parameters
    ----------
    evaluations
        Of the search.
    problem
        What the networks are for.
    count
        How many at most.
    """
    standard = {individual.genome.key for _, individual in _standard(problem)}
    found = ranked(evaluations, count + len(standard))
    return [(individual, result) for individual, result in found if individual.genome.key not in standard][:count]


def train(
    client: Client,
    problem: Problem,
    planned: Sequence[Compared],
    limits: Limits,
    directory: Path,
    evaluate: Evaluate = evaluate,
) -> Iterator[Compared]:
    """Train networks on the workers and give each back with its result, the first finished first.

    A training that failed has a result with a failure; nothing is raised for it.

    Parameters
    ----------
    client
        Of the workers.
    problem
        What the networks are for, with the budget of the search.
    planned
        The networks.
    limits
        Of a training at the budget of the search; a longer one may take longer in proportion.
    directory
        Of the run; the trained networks are kept there, see `trained_path`.
    evaluate
        Trains a network.
    """
    once = uuid4().hex  # Dask would give what it has under a key that it knows from an earlier comparison
    pending = {f"compare-{once}-{number:03d}": compared for number, compared in enumerate(planned)}
    futures = []
    for key, compared in pending.items():
        longer = max(1.0, compared.factor)
        # a finalist has learnt something already, and the standard network is wanted whatever it learns
        budget = problem.budget.times(compared.factor).unbroken()
        path = trained_path(directory, compared)
        checkpoint = str(_checkpoint_path(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        futures.append(
            client.submit(
                evaluate,
                compared.individual,
                replace(problem, budget=budget),
                replace(limits, seconds=limits.seconds * longer),
                seed=problem.seed,
                save=str(path),
                test=True,
                key=key,
                pure=False,
                **accepted(evaluate, checkpoint=checkpoint),
            )
        )
    arrivals: Any = as_completed(futures, with_results=True, raise_errors=False)
    for future, result in arrivals:
        if not isinstance(result, Result):  # type, exception and traceback, or nothing where it was cancelled
            result = Result.failed("worker_lost", f"{future.status}: {result[1] if result else 'cancelled'}")
        _checkpoint_path(trained_path(directory, pending[future.key])).unlink(missing_ok=True)
        yield replace(pending[future.key], result=result)


def trained_path(directory: Path, compared: Compared) -> Path:
    """Return where a run keeps a network that was trained for comparison."""
    folder = "standard" if compared.is_standard else f"networks/{compared.individual.name}"
    return directory / folder / f"trained-{compared.factor:g}.keras"


def _checkpoint_path(path: Path) -> Path:
    """Return where a worker writes how far the training of the network is that will stand at a path."""
    return path.with_name(f".{path.stem}.checkpoint")


def _standard(problem: Problem) -> list[tuple[str, Individual]]:
    try:
        title, genome = standard_network(problem)
    except UserError:  # images of a single pixel: there is nothing that everybody would try first
        return []
    return [(title, Individual(STANDARD_ID, genome, (), "standard"))]
