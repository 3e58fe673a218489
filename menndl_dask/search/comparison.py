"""Comparison of a run's best networks with the standard network, trained longer and tested. Runs on the driver.

Short trainings rank networks with noise. So a few finalists are trained for longer, and the standard network with the
same budget. The validation split chooses the winner. The test split is only measured: no choice depends on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from distributed import Client

from menndl_dask.errors import RunError, UserError
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.sample_scores import keep_groups
from menndl_dask.genome.individual import Evaluation, Individual, ranked
from menndl_dask.objective import Objectives, by_knee, front_of
from menndl_dask.problem import SPLITS, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.progress import Counts, Progress
from menndl_dask.run.recorder import CONTENDERS, STANDARD_ID, Compared
from menndl_dask.run.run import Run
from menndl_dask.search.dispatcher import Dispatcher, accepted
from menndl_dask.search.remote_evaluation import START_S, Evaluate, EvaluationRequest
from menndl_dask.search.workers import Workers
from menndl_dask.space.standard.standard import standard_network
from menndl_dask.training.request import make_network_folder

_CHECK_S = 1.0  # between two looks at the workers
_UNTRAINED = Result.failed("error", "not trained yet")

logger = logging.getLogger(__name__)


def plan(problem: Problem, finalists: Sequence[Evaluation], factor: float) -> list[Compared]:
    """Return the trainings of a comparison, with placeholders for their results.

    They are the standard network at the budget of the search, the finalists at `factor` times that budget, and the
    standard network at their budget. With a factor of 0 the finalists are measured as the search has trained them.
    """
    standard = standard_of(problem)
    planned = [Compared(name, individual, 1.0, _UNTRAINED) for name, individual in standard]
    if factor == 0:
        planned += [Compared(f"network {one.id}", one, 0.0, _UNTRAINED) for one, _ in finalists]
    else:
        alike = [(f"network {individual.id}", individual) for individual, _ in finalists] + standard
        longer = "" if factor == 1 else f" (budget × {factor:g})"
        planned += [Compared(f"{name}{longer}", individual, factor, _UNTRAINED) for name, individual in alike]
    # with a factor of 1 the standard network would be trained twice
    return list({(c.individual.id, c.factor): c for c in planned}.values())


def finalists(evaluations: Iterable[Evaluation], problem: Problem, count: int) -> list[Evaluation]:
    """Return up to `count` fittest networks of a search without the standard network, which a search may begin with.

    With several objectives they are of the front, its knee first.
    """
    standard = {individual.genome.key for _, individual in standard_of(problem)}
    objectives = Objectives.of(problem.objectives, problem.constraints)
    if len(objectives.names) > 1 or objectives.limits:
        return _of_front([pair for pair in evaluations if pair[0].genome.key not in standard], objectives)[:count]
    found = ranked(evaluations, count + len(standard))
    return [(individual, result) for individual, result in found if individual.genome.key not in standard][:count]


def _of_front(evaluations: Sequence[Evaluation], objectives: Objectives) -> list[Evaluation]:
    """Return the evaluations of the front, the knee first; those that break a constraint count only if all do."""
    known = [(pair, values) for pair in evaluations if (values := objectives.values(pair[1])) is not None]
    known = objectives.kept(known, lambda each: each[0][1])
    front = [known[i] for i in front_of([values for _, values in known])]
    return [front[i][0] for i in by_knee([values for _, values in front])]


def within_limits(compared: Iterable[Compared], problem: Problem) -> list[Compared]:
    """Return the networks that keep the constraints of the problem; all if none does."""
    return Objectives.of(problem.objectives, problem.constraints).kept(compared, lambda c: c.result)


def preferred(run: Run, problem: Problem, count: int) -> list[tuple[str, Individual]]:
    """Return up to `count` networks that the validation split prefers, the best first, with their names.

    What several seeds have shown counts before a single longer training, and that before the search. The standard
    network is one of them where it was better.
    """
    known = {individual.genome.key for individual, result in run.evaluations if result.succeeded}
    known |= {individual.genome.key for _, individual in standard_of(problem)}
    tried = [c for c in run.contenders if c.result.fitness is not None and c.individual.genome.key in known]
    seeds: dict[str, list[Compared]] = {}
    for contender in tried:
        if contender.factor == tried[-1].factor:
            seeds.setdefault(contender.individual.genome.key, []).append(contender)
    ordered = sorted(seeds.values(), key=lambda group: -fmean(c.result.fitness or 0.0 for c in group))
    found = [(group[0].name, group[0].individual) for group in ordered]
    found += [(c.name.partition(" (budget")[0], c.individual) for c in run.alike if c.result.succeeded]
    found += [(f"network {one.id}", one) for one, _ in finalists(run.evaluations, problem, count)]
    each: dict[str, tuple[str, Individual]] = {}
    for name, individual in found:
        each.setdefault(individual.genome.key, (name, individual))
    return list(each.values())[:count]


def contenders(
    named: Iterable[tuple[str, Individual]], factor: float, seeds: Iterable[int], done: Iterable[Compared] = (),
    is_final: bool = False,
) -> list[Compared]:  # fmt: skip
    """Return trainings of each of the named networks with each seed, those done left out.

    If `is_final`, they are on the training and the validation split. The networks take turns, so that an interrupted
    comparison has about as many trainings of each. Equal networks are one, with both names.
    """
    known = {(c.individual.genome.key, c.factor, c.seed) for c in done if c.result.succeeded}
    each: dict[str, tuple[str, Individual]] = {}
    for name, individual in named:
        others = [each[individual.genome.key][0]] if individual.genome.key in each else []
        each[individual.genome.key] = " = ".join([*others, name]), individual
    return [
        Compared(name, individual, factor, _UNTRAINED, seed, is_final)
        for seed in seeds
        for name, individual in each.values()
        if (individual.genome.key, factor, seed) not in known
    ]


def train(
    client: Client,
    problem: Problem,
    planned: Sequence[Compared],
    limits: Limits,
    directory: Path,
    evaluate: Evaluate = evaluate,
    wait_minutes: float | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> Iterator[Compared]:
    """Train networks on the workers and yield each with its result, in the order in which they complete.

    A training that fails yields a result with a failure; it does not raise.

    Parameters
    ----------
    client
        Client of the cluster.
    problem, planned
        The problem with the budget of the search, and the networks, as `plan` returns them.
    limits
        Limits of a training at the budget of the search. The time limit of a longer training is longer in proportion.
    directory
        The run directory, where the trained networks are kept, see `trained_path`.
    evaluate
        Trains and measures a network.
    wait_minutes
        Minutes without any worker after which this ends; None for no end.
    keep
        Whether networks with a seed are saved too.
    progress
        Shows the progress.

    Raises
    ------
    RunError
        If the scheduler is lost, no worker comes, or a network cannot be saved.
    """
    if planned:
        keep_groups(directory, problem)
    dispatcher = Dispatcher(client, _train_and_test, (evaluate,))
    workers = Workers(None if wait_minutes is None else 60.0 * wait_minutes, dispatcher.hint)
    checked_at = -_CHECK_S
    counts = Counts(time.monotonic(), len(planned), phase="comparison")
    try:
        for number, compared in enumerate(planned):
            path = compared.path(directory) if keep else trained_path(directory, compared)
            dispatcher.submit(_request(number, compared, problem, limits, path, directory, evaluate, keep))
        while dispatcher:
            completed = dispatcher.completed(_CHECK_S)
            now = time.monotonic()
            if now - checked_at >= _CHECK_S:
                checked_at = now
                change = workers.update(dispatcher.worker_threads(), now)
                counts.workers, counts.no_workers_since = len(workers), workers.none_since
                if change is not None:
                    logger.log(logging.INFO if workers else logging.WARNING, "%s", change)
                completed += dispatcher.give_up_overdue(now)
            for message in dispatcher.notes:
                logger.warning("%s", message)
            dispatcher.notes.clear()
            for individual, result in completed:
                counts.add(planned[individual.id].individual, result, now)
            if progress is not None:
                (progress.show if dispatcher else progress.close)(counts, now)
            for individual, result in completed:
                if progress is not None:
                    progress.clear()
                compared = planned[individual.id]
                path = compared.path(directory) if keep else trained_path(directory, compared)
                _checkpoint_path(path).unlink(missing_ok=True)
                yield replace(compared, result=result)
    finally:
        dispatcher.close()


def _train_and_test(
    _: Individual, evaluate: Evaluate, *, individual: Individual, problem: Problem, limits: Limits, **arguments: Any
) -> Result:
    """Train and measure a network with a budget of its own. Runs on a worker."""
    return evaluate(individual, problem, limits, test=True, **arguments)


def _request(
    number: int, compared: Compared, problem: Problem, limits: Limits, path: Path, directory: Path,
    evaluate: Evaluate, keep: bool,
) -> EvaluationRequest:  # fmt: skip
    """Return the request of a training; its individual has the number of the training, since a network may have two."""
    longer = max(1.0, compared.factor)
    # a finalist has learnt something already, and the standard network is wanted whatever it learns
    budget = problem.budget.times(compared.factor or 1.0).without_early_stopping()
    try:
        make_network_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path.parent}: cannot be written: {error.strerror}") from error
    limits = replace(limits, seconds=limits.seconds * longer)
    sums = None if compared.is_final else compared.sums_path(directory)
    # of trainings with several seeds, the pictures of the first are enough
    is_first = compared.seed is None or compared.seed == problem.seed
    examples = str(compared.examples_path(directory)) if is_first else None
    arguments = {
        "individual": compared.individual,
        "problem": replace(problem, budget=budget, train_on=SPLITS[:2] if compared.is_final else problem.train_on),
        "limits": limits,
        "seed": problem.seed if compared.seed is None else compared.seed,
        # contenders are only measured
        "save": str(path) if compared.factor and (keep or compared.seed is None) else None,
        **accepted(
            evaluate, checkpoint=str(_checkpoint_path(path)), test_sums=None if sums is None else str(sums),
            examples=examples,
        ),
        **({} if compared.factor else {"trained": str(path)}),
    }
    individual = replace(compared.individual, id=number)
    return EvaluationRequest(individual, arguments, limit_s=limits.seconds, start_s=START_S, phase="comparison")


def trained_path(directory: Path, compared: Compared) -> Path:
    """Return the path of a network that was trained for comparison."""
    if compared.seed is not None:
        return directory / CONTENDERS / f"{compared.individual.genome.key}-{compared.factor:g}-{compared.seed}.keras"
    return compared.path(directory)


def _checkpoint_path(path: Path) -> Path:
    """Return the path of the checkpoint of a network that will be saved at `path`."""
    return path.with_name(f".{path.stem}.checkpoint")


def standard_of(problem: Problem) -> list[tuple[str, Individual]]:
    """Return the standard network of a problem with its name; none for images of a single pixel."""
    try:
        title, genome = standard_network(problem)
    except UserError:  # images of a single pixel have no standard network
        return []
    return [(title, Individual(STANDARD_ID, genome, (), "standard"))]
