"""The forecast of a search that has not begun: some of its networks are trained briefly. Runs on the driver.

Each is trained for a few seconds where the search would train it, as many at a time as there are workers, so that the
times hold beside busy neighbours. With earlier runs no network is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distributed import Client, as_completed

from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Profile
from menndl_dask.errors import RunError, UserError, one_line
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.forecast.forecast import CostForecast, Interval
from menndl_dask.run.run import Run
from menndl_dask.search.forecast.estimate import Basis, comparison, forecast
from menndl_dask.search.forecast.known import by_runs, by_trainings, drawn, feasible
from menndl_dask.search.forecast.service_time import Timed
from menndl_dask.search.own_kinds import let_workers_find, own_names
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.plan.trial import LONGEST_S, briefly
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from menndl_dask.terminal import say

_FEWEST, _MOST = 4, 16  # networks that are trained
_DOUBT = 0.15  # several networks, beside each other: the load may be another in an hour
_STARTED_S = 1.0  # a trainer that was there takes less to start a training
_WAIT_S = 3600.0  # for the first worker


def forecast_search(
    problem: Problem, space: SearchSpace, profile: Profile, *, workers: int | None = None,
    evaluations: int | None = None, hours: float | None = None, retrain: float = 4.0, finalists: int = 2,
    networks: int | None = None, runs: Sequence[Run] = (), seed: int = 0,
) -> CostForecast:  # fmt: skip
    """Return what a search is expected to cost.

    Parameters
    ----------
    problem, space
        As the search would have them, the training of each network included.
    profile, workers
        Where it would run.
    evaluations, hours
        Its budget, at least one of the two.
    retrain, finalists
        Of the comparison at the end; see `menndl_dask.workflow.compare`.
    networks
        How many are trained for some seconds; by default 4 to 16, and one for each worker in between.
    runs
        Earlier runs, which say what evaluations take; then none is trained.
    seed
        Of the networks that are drawn.

    Raises
    ------
    UserError
        If no training of the networks or of the runs took a step.
    RunError
        If no worker comes.
    """
    machine = Machine.of(profile, workers)
    genomes = feasible(drawn(space, seed), problem)
    if not genomes:
        raise UserError("search space: expected networks that can be drawn, found none; its limits may be too small")
    _, standard = standard_network(problem)
    if runs:
        basis = by_runs(problem, runs, genomes)
    else:
        count = networks or max(_FEWEST, min(_MOST, machine.workers))
        tried = [standard, *genomes][:count]
        basis = _by_trainings(problem, space, tried, genomes, profile, machine)
    after = comparison(
        basis.times, problem, standard, workers=machine.workers, retrain=retrain, finalists=finalists
    )
    return forecast(
        problem, basis, workers=machine.workers, evaluations=evaluations, hours=hours, nodes=machine.nodes,
        comparison_s=after,
    )  # fmt: skip


def _by_trainings(
    problem: Problem, space: SearchSpace, tried: Sequence[Genome], genomes: Sequence[Genome], profile: Profile,
    machine: Machine,
) -> Basis:  # fmt: skip
    short = briefly(problem)
    with load_cluster(profile, workers=machine.workers) as cluster, cluster.client() as client:
        let_workers_find(client, own_names(problem, space))
        say(f"training {len(tried)} networks for some seconds each …")
        results = _trained(client, short, tried, machine)
    timed = [Timed.of_short(genome, result, short, problem) for genome, result in zip(tried, results, strict=True)]
    known = [one for one in timed if one is not None]
    if not known:
        why = "; ".join(sorted({f"{result.failure}: {result.message}" for result in results}))
        raise UserError(f"none of {len(tried)} short trainings took a step: {why}")
    together = min(machine.workers, len(tried))
    words = f"{len(known)} networks trained for some seconds each, {together} at a time"
    basis = by_trainings(problem, known, genomes, words, _DOUBT)
    started = [seconds for result in results if (seconds := result.times.get("start", 0.0)) > _STARTED_S]
    if not started:
        return basis
    mean = sum(started) / len(started)
    return replace(basis, start_s=Interval(mean, 0.6 * mean, 1.6 * mean))


def _trained(client: Client, problem: Problem, tried: Sequence[Genome], machine: Machine) -> list[Result]:
    """Return the results of short trainings, in order."""
    try:
        client.wait_for_workers(min(machine.workers, len(tried)) if machine.is_this else 1, timeout=_WAIT_S)
    except TimeoutError as error:
        raise RunError(f"no worker has been there for {_WAIT_S / 60:.0f} minutes") from error
    memory = None if machine.memory_bytes is None else int(machine.memory_bytes)
    limits = Limits(LONGEST_S, memory, checkpoint_s=None)
    futures = {
        client.submit(evaluate, Individual(number, genome), problem, limits, pure=False): number
        for number, genome in enumerate(tried)
    }
    results: dict[int, Result] = {}
    for future in as_completed(futures):
        raised = future.exception()
        results[futures[future]] = future.result() if raised is None else Result.failed("error", one_line(raised))
    return [results[number] for number in range(len(tried))]
