"""The trial: a few seconds of training of the standard network, which give its time and memory. Runs on the driver.

The training itself runs in a child process, as that of each network does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import NodeError, UserError
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.trainer_pool import close
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.run.recorder import STANDARD_ID
from menndl_dask.search.plan.machine import Machine

_TRAINING_S = 6.0
_LONGEST_S = 240.0
_VALIDATIONS = 4  # of a training: after a third, at two rungs and at the end
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
    """Train a network for a few seconds.

    Raises
    ------
    UserError
        If the training raises an exception: every network's would.
    """
    budget = replace(
        problem.budget.without_early_stopping(), epochs=None, steps=None, flops=None, seconds=_TRAINING_S,
        deterministic=False,
    )  # fmt: skip
    tried = replace(problem, budget=budget)
    memory = None if machine.memory_bytes is None else int(machine.memory_bytes)
    limits = Limits(_LONGEST_S, memory, checkpoint_s=None)
    try:
        with _threads(machine.cores):
            result = evaluate(Individual(STANDARD_ID, genome, (), "standard"), tried, limits)
    except NodeError as error:
        raise UserError(str(error)) from error
    finally:
        close()
    if result.failure == "error":
        raise UserError(f"a first training of the standard network failed, as every training would: {result.message}")
    if result.failure in _TOO_LARGE:
        return Trial(failure=result.failure)
    cost = cost_of(genome, problem)
    steps = round(result.costs.get("flops_training", 0.0) / (cost.flops_training * budget.batch_size))
    if not result.curve or not steps:
        return Trial()
    trained_s = result.curve[-1]["seconds"]
    memory_bytes = result.costs.get("memory_bytes")
    framework = None if memory_bytes is None else max(0.0, memory_bytes - cost.memory_bytes(budget.batch_size))
    measure_s = result.times.get("measure", 0.0) / len(result.curve) * _VALIDATIONS
    other = measure_s + result.times.get("data", 0.0) + result.times.get("build", 0.0)
    return Trial(trained_s / steps, other, memory_bytes, framework)


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

