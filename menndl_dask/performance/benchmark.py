"""A benchmark of a cluster: networks of a space trained on 1, 2, 4, … workers, without a search. Runs on the driver.

Strong scaling: the same networks on each number of workers. Weak scaling: the same networks for each worker. Each
number of workers has a run directory, so that a benchmark that was stopped carries on, and `menndl report` shows each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from distributed import Client, wait

from menndl_dask.cluster.cluster import Cluster, load_cluster
from menndl_dask.errors import RunError, UserError
from menndl_dask.evaluation.evaluation import evaluate as train_and_measure
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.performance.population import FixedPopulation, drawn
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.run.progress import Progress
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE
from menndl_dask.run.usage.usage import Usage
from menndl_dask.search.own_kinds import let_workers_find, own_names
from menndl_dask.search.remote_evaluation import Evaluate
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace

STRONG, WEAK = "strong", "weak"
_STRAGGLES = 2.0  # times the median duration
_WARM = Budget(steps=1, batch_size=2).without_early_stopping()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What some workers did in a benchmark. All of it is measured.

    Parameters
    ----------
    kind
        `STRONG` or `WEAK`.
    asked
        Number of worker processes.
    workers
        Evaluations that they can do at a time, on average.
    networks, failed
        Results, and those of them without a fitness.
    wall_s
        From the first submission to the last result.
    per_hour, flops_per_s
        Networks in an hour, and FLOPs of training in a second.
    efficiency
        Networks an hour of a worker, as a multiple of those with the fewest workers.
    stragglers
        Networks that took more than twice the median.
    tail
        Share of the workers' time after their last evaluation, while others still ran; None if it is not known.
    """

    kind: str
    asked: int
    workers: float
    networks: int
    failed: int
    wall_s: float
    per_hour: float
    flops_per_s: float
    efficiency: float
    stragglers: int
    tail: float | None


def benchmark(
    problem: Problem, space: SearchSpace, directory: Path, profile: str, *, networks: int, workers: Sequence[int],
    kinds: Sequence[str] = (STRONG, WEAK), seed: int = 0, limits: Limits = Limits(),
    evaluate: Evaluate = train_and_measure, progress: Callable[[], Progress | None] = lambda: None,
    say: Callable[[str], Any] = logger.info,
) -> list[Scaling]:  # fmt: skip
    """Train networks of a space on each number of workers, and return what was measured.

    Parameters
    ----------
    problem, space
        What networks are trained for, each with the whole budget of the problem, and where they are drawn from.
    directory
        Of the benchmark. What has been measured there is not measured again.
    profile
        Cluster profile.
    networks
        How many are trained in strong scaling. In weak scaling each worker has the first `networks` divided by the
        largest number of workers, at least one.
    workers
        Numbers of worker processes.
    kinds
        What is measured.
    seed, limits
        Of the draws and the trainings.
    evaluate
        Trains a network; another one for tests.
    progress
        Makes what shows the progress of each measurement.
    say
        Called with a line before each measurement.

    Raises
    ------
    UserError
        If the numbers do not fit, or the space has too few networks.
    RunError
        If the directory is that of another benchmark, or no worker comes.
    """
    counts = sorted(set(workers))
    if not counts or counts[0] < 1 or networks < counts[-1]:
        numbers = ", ".join(map(str, counts))
        raise UserError(f"--networks: expected at least one for each of {numbers} workers, got {networks}")
    problem = replace(problem, budget=problem.budget.without_early_stopping())
    genomes = drawn(space, networks, seed)
    for count in counts:
        each = {STRONG: genomes, WEAK: [one for one in genomes[: networks // counts[-1]] for _ in range(count)]}
        left = {kind: each[kind] for kind in kinds if not _is_done(_folder(directory, kind, count), len(each[kind]))}
        if not left:
            continue
        say(f"starting {count} worker{'s' if count > 1 else ''} of {profile} …")
        with load_cluster(profile, workers=count) as cluster, cluster.client() as client:
            if evaluate is train_and_measure:
                _warm(client, cluster, count, problem, space, limits, genomes[0])
            for kind, population in left.items():
                say(f"{kind} scaling: {len(population)} networks")
                folder = _folder(directory, kind, count)
                search = Search(
                    problem, space, folder, evolution=FixedPopulation(population), seed=seed, limits=limits,
                    evaluate=evaluate, settings={"benchmark": [genome.key for genome in population]},
                )  # fmt: skip
                search.run(client, evaluations=len(population), progress=progress())
    return read_scaling(directory)


def _warm(
    client: Client, cluster: Cluster, count: int, problem: Problem, space: SearchSpace, limits: Limits, genome: Genome
) -> None:
    """Let each place of each worker import Keras and stage the samples before anything is measured."""
    let_workers_find(client, own_names(problem, space))
    client.wait_for_workers(count)
    short = replace(problem, budget=replace(_WARM, backend=problem.budget.backend))
    workers = client.scheduler_info(n_workers=-1)["workers"]
    places = [address for address, worker in workers.items() for _ in range(int(worker["nthreads"]))]
    arguments = (Individual(0, genome), short, limits)
    wait([client.submit(train_and_measure, *arguments, workers=[place], pure=False) for place in places])


def _folder(directory: Path, kind: str, workers: int) -> Path:
    return directory / f"{kind}-{workers}"


def _is_done(folder: Path, networks: int) -> bool:
    return (folder / FILE).exists() and len(Run(folder).usage().evaluated) >= networks


def read_scaling(directory: Path) -> list[Scaling]:
    """Return what was measured in a directory, by kind and number of workers.

    Raises
    ------
    RunError
        If nothing was.
    """
    found: list[Scaling] = []
    for kind in (STRONG, WEAK):
        names = (path.name.removeprefix(f"{kind}-") for path in directory.glob(f"{kind}-*") if (path / FILE).exists())
        for asked in sorted(int(name) for name in names if name.isdecimal()):
            usage = Run(_folder(directory, kind, asked)).usage()
            if usage.evaluated:
                first = next((one for one in found if one.kind == kind), None)
                found.append(_scaling(kind, asked, usage, first))
    if not found:
        raise RunError(f"{directory}: expected a benchmark with results, got none")
    return found


def _scaling(kind: str, asked: int, usage: Usage, first: Scaling | None) -> Scaling:
    taken = [one.seconds for one in usage.evaluated if one.seconds is not None]
    rate = usage.per_hour / usage.workers
    return Scaling(
        kind,
        asked,
        usage.workers,
        len(usage.evaluated),
        sum(one.failure is not None for one in usage.evaluated),
        usage.wall_s,
        usage.per_hour,
        usage.sustained,
        1.0 if first is None else rate / (first.per_hour / first.workers),
        sum(seconds > _STRAGGLES * median(taken) for seconds in taken),
        usage.tail,
    )
