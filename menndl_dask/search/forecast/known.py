"""What is known of times before a search: by trainings, by its first results, by earlier runs. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Evaluation
from menndl_dask.problem import Problem
from menndl_dask.run.forecast.actual import saved_share
from menndl_dask.run.forecast.forecast import Interval
from menndl_dask.run.run import Run
from menndl_dask.search.forecast.estimate import Basis
from menndl_dask.search.forecast.service_time import ServiceTimes, Timed, Work
from menndl_dask.space.space import SearchSpace
from menndl_dask.text import counted

_DRAWN = 100  # networks of a space that stand for those of a search
_LATEST = 400  # evaluations of an earlier run that count
_ENOUGH = 40  # results from which on the share that early stopping saved is taken from them
_TRIAL_DOUBT = 0.25  # one network, and the load may be another in a minute
_RESULTS_DOUBT = 0.2  # the load may change while the search runs
_RUN_DOUBT = 0.12  # an earlier run on this machine: the load may be another


def drawn(space: SearchSpace, seed: int = 0, count: int = _DRAWN) -> list[Genome]:
    """Return networks of a space, as a search draws them."""
    rng = np.random.default_rng([seed, 7])
    found = []
    for _ in range(count):
        try:
            found.append(space.sample(rng))
        except UserError:  # constraints leave so little that drawing finds none
            break
    return found


def by_trainings(
    problem: Problem, timed: Sequence[Timed], genomes: Sequence[Genome], in_words: str, doubt: float = _TRIAL_DOUBT
) -> Basis:
    """Return what some short trainings say of the networks of a space."""
    return Basis(ServiceTimes(timed, problem.budget.seconds), genomes, in_words, doubt)


def by_results(problem: Problem, results: Iterable[Evaluation], genomes: Sequence[Genome]) -> Basis | None:
    """Return what the first results of a search say of its other networks; None if no training took a step."""
    known = list(results)
    timed = timed_of(problem, known)
    if not timed:
        return None
    in_words = f"its first {counted(len(known), 'result')}"
    return Basis(ServiceTimes(timed, problem.budget.seconds), genomes, in_words, _RESULTS_DOUBT)


def by_runs(problem: Problem, runs: Sequence[Run], genomes: Sequence[Genome]) -> Basis:
    """Return what earlier runs say: how fast they were, what they saved, and what networks evolution preferred.

    Their networks stand for those of the new search where they are of the same shapes and limits; else only the speed
    and the share saved are theirs.

    Raises
    ------
    UserError
        If they are of no data set, or no training of theirs took a step.
    """
    timed: list[Timed] = []
    own: list[Genome] = []
    shares: list[float] = []
    for run in runs:
        former = run.problem
        if former is None:
            raise UserError(f"--from {run.path}: expected a run on a data set, got one with an `evaluate` of its own")
        latest = list(run.evaluations)[-_LATEST:]
        timed += timed_of(former, latest)
        if former.facts.input_shapes == problem.facts.input_shapes and former.facts.outputs == problem.facts.outputs:
            own += [individual.genome for individual, result in latest if result.failure != "infeasible"]
        share = saved_share(latest)
        if share is not None and len(latest) >= _ENOUGH:
            shares.append(share)
    if not timed:
        names = ", ".join(str(run.path) for run in runs)
        raise UserError(f"--from {names}: expected a run in which a network was trained, got none")
    saved = None
    if shares:
        mean = float(np.mean(shares))
        saved = Interval(mean, max(0.0, mean - 0.08), min(0.9, mean + 0.08))
    times = ServiceTimes(timed, problem.budget.seconds)
    in_words = f"{counted(len(timed), 'training')} of {counted(len(runs), 'earlier run')}"
    if own:
        return Basis(times, own, in_words, _RUN_DOUBT, 0.1, saved)
    return Basis(times, genomes, f"{in_words} on other images", 0.2, saved=saved)


def timed_of(problem: Problem, results: Iterable[Evaluation]) -> list[Timed]:
    """Return what trainings took, those that were stopped early too."""
    found = []
    for individual, result in results:
        try:
            one = Timed.of(individual.genome, result, problem)
        except InfeasibleError:
            continue
        if one is not None:
            found.append(one)
    return found


def feasible(genomes: Iterable[Genome], problem: Problem) -> list[Genome]:
    """Return the networks that can be built for a problem."""
    kept = []
    for genome in genomes:
        try:
            Work.of(genome, problem)
        except InfeasibleError:
            continue
        kept.append(genome)
    return kept
