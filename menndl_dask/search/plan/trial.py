"""The trial: a few seconds of training of the standard network, which give its time and memory. Runs on the driver.

On a CPU as many trainings of it run beside each other as the machine has workers: a training beside busy neighbours
takes longer than one alone. Each runs in a child process, as that of each network does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np

from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import NodeError, UserError
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.trainer_pool import close, pool_of
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID
from menndl_dask.search.forecast.service_time import Timed
from menndl_dask.search.plan.machine import Machine

SECONDS = "MENNDL_TRIAL_SECONDS"  # environment variable: of the training
_TRAINING_S = 6.0
LONGEST_S = 240.0
_TOO_LARGE = ("out_of_memory", "killed", "timed_out")


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial has measured.

    Parameters
    ----------
    step_s
        Seconds of an optimiser step; None if it was not measured.
    other_s
        Seconds of an evaluation beside its steps: data, build, validations.
    memory_bytes
        Peak memory of the training.
    framework_bytes
        Those of them that the estimate of the network's cost does not have.
    failure
        Why it failed, if it needed too much memory or time.
    """

    step_s: float | None = None
    other_s: float = 10.0
    memory_bytes: float | None = None
    framework_bytes: float | None = None
    failure: str = ""


def run_trial(problem: Problem, genome: Genome, machine: Machine) -> Trial:
    """Train a network for a few seconds, beside as many others as the machine trains at a time.

    Raises
    ------
    UserError
        If the training raises an exception: every network's would; or if ``MENNDL_TRIAL_SECONDS`` is no such time.
    """
    tried = briefly(problem)
    memory = None if machine.memory_bytes is None else int(machine.memory_bytes)
    limits = Limits(LONGEST_S, memory, checkpoint_s=None)
    # this process has one GPU for all
    together = 1 if machine.gpus else machine.workers
    pool_of(os.getpid()).grow(together)

    def one(_: int) -> Result:
        return evaluate(Individual(STANDARD_ID, genome, (), "standard"), tried, limits)

    try:
        with _threads(machine.cores), ThreadPoolExecutor(together) as threads:
            results = list(threads.map(one, range(together)))
    except NodeError as error:
        raise UserError(str(error)) from error
    finally:
        close()
    for result in results:
        if result.failure == "error":
            raise UserError(
                f"a first training of the standard network failed, as every training would: {result.message}"
            )
    failed = [result.failure for result in results if result.failure in _TOO_LARGE]
    if failed:
        return Trial(failure=str(failed[0]))
    return _measured(results, genome, tried)


def briefly(problem: Problem) -> Problem:
    """Return the problem with trainings of a few seconds that nothing stops early."""
    budget = replace(
        problem.budget.without_early_stopping(), epochs=None, steps=None, flops=None, seconds=_training_s(),
        deterministic=False,
    )  # fmt: skip
    return replace(problem, budget=budget)


def _training_s() -> float:
    """Return the seconds of the training, for which the environment may have a number."""
    given = os.environ.get(SECONDS, str(_TRAINING_S))
    with suppress(ValueError):
        if 0.0 < float(given) < LONGEST_S:
            return float(given)
    raise UserError(f"{SECONDS}: expected seconds, more than 0 and less than {LONGEST_S:g}, got {given!r}")


def _measured(results: Sequence[Result], genome: Genome, tried: Problem) -> Trial:
    """Return the means of what equal trainings took."""
    cost, batch = cost_of(genome, tried), tried.budget.batch_size
    found: list[Trial] = []
    for result in results:
        timed = Timed.of_short(genome, result, tried, tried)
        if timed is None:
            continue
        memory_bytes = result.costs.get("memory_bytes")
        framework = None if memory_bytes is None else max(0.0, memory_bytes - cost.memory_bytes(batch))
        found.append(Trial(timed.step_s, timed.other_s, memory_bytes, framework))
    if not found:
        return Trial()
    return Trial(
        float(np.mean([each.step_s for each in found])),
        float(np.mean([each.other_s for each in found])),
        max((each.memory_bytes for each in found if each.memory_bytes is not None), default=None),
        max((each.framework_bytes for each in found if each.framework_bytes is not None), default=None),
    )


@contextmanager
def _threads(cores: int) -> Iterator[None]:
    """Give trainings the threads that they have in a search."""
    before = os.environ.get(TRAINING_THREADS)
    if before is None:
        os.environ[TRAINING_THREADS] = str(cores)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TRAINING_THREADS, None)

