"""The evaluation of an individual: trains its network within a budget and scores it. Runs on a worker, without Keras.

The training runs in a child process of one of the worker's trainers (`menndl_dask.evaluation.trainer_pool`).
Evaluations in more threads of a process than it has trainers wait for each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType

from menndl_dask.errors import DataError, InfeasibleError, MenndlError, NodeError, TrainerError, one_line_with_place
from menndl_dask.evaluation.trainer_pool import pool_of
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result
from menndl_dask.training.request import Threshold, TrainingRequest
from menndl_dask.validation import demand_kind

_LOG = logging.getLogger(__name__)
_SEEDS = 2**31
_PRIME = 1_000_003
_FAILURES: dict[type | None, str] = {TimeoutError: "timed_out", EOFError: "killed"}


def evaluate(
    individual: Individual,
    problem: Problem,
    limits: Limits = Limits(),
    *,
    seed: int | None = None,
    save: str | Path | None = None,
    save_above: float | None = None,
    test: bool = False,
    test_sums: str | Path | None = None,
    examples: str | Path | None = None,
    thresholds: Sequence[Threshold] = (),
    checkpoint: str | Path | None = None,
    trained: str | Path | None = None,
    scratch: str | Path | None = None,
    gpu_bytes: float | None = None,
) -> Result:
    """Train and score the network of an individual; a failure of the network is a result, not an exception.

    Parameters
    ----------
    individual
        Its genome is evaluated.
    problem
        The data and the training budget.
    limits
        Beyond which the training is killed.
    seed
        Seed of weights, dropout and the order of the samples; by default derived from the problem's seed and the
        individual's number.
    save
        Path of a ``.keras`` file, which plain Keras can load. It is written if the fitness is above `save_above`.
    save_above
        See `save`; None to write it for any fitness.
    test
        Whether ``test_<metric>``, measured on the test split, is added to the result's metrics.
    test_sums
        Path of an ``.npz`` file, written with `test` if the metric is a built-in one: ``sums`` ``(unit, row, output)``,
        from which the metric of some units is computed, see `menndl_dask.metric.values_of`, and ``source``, the sample
        of the test split that each unit is a part of.
    examples
        Path of an ``.npz`` file, written with `test`: small pictures of the best, median and worst samples of the test
        split, and what was confused with what; see `menndl_dask.training.scoring.examples.Examples.arrays`.
    thresholds
        What the network must have reached at the rungs, else it is pruned; see `menndl_dask.search.rungs`.
    checkpoint
        Path of a file on a file system that all workers share. A training longer than ``limits.checkpoint_s`` writes
        its state there, and an interrupted training of the same network is resumed from it. The caller removes the
        file.
    trained
        Path of the network as an earlier training has saved it: it is not trained, only measured.
    scratch
        Directory on a disk of the node for the staged samples; by default that for temporary files.
    gpu_bytes
        Bytes of a GPU's memory that the training may use; None for what the worker's environment says.

    Returns
    -------
    Result
        A fitness on the validation split, or a failure.

    Raises
    ------
    NodeError
        If the samples cannot be read or staged on this node, or no process can be started there.
    UserError
        If the individual, the problem or the limits are of another kind.
    """
    demand_kind("evaluate: individual", individual, Individual, "an Individual, such as Individual(0, genome)")
    demand_kind("evaluate: problem", problem, Problem, "a Problem, as open_problem returns it")
    demand_kind("evaluate: limits", limits, Limits, "Limits, such as Limits(seconds=600)")
    demand_kind("evaluate: seed", seed, (int, NoneType), "an integer or None")
    started = time.monotonic()
    seed = (problem.seed * _PRIME + individual.id) % _SEEDS if seed is None else seed
    try:
        cost_of(individual.genome, problem)  # a network that cannot be built needs no training
        request = TrainingRequest(
            individual.genome.to_dict(), problem.to_dict(), limits, seed, save=_absolute(save), save_above=save_above,
            test=test, test_sums=_absolute(test_sums), examples=_absolute(examples), thresholds=tuple(thresholds),
            checkpoint=_absolute(checkpoint), trained=_absolute(trained), gpu_bytes=gpu_bytes,
        )  # fmt: skip
        with pool_of(os.getpid()).slot() as slot:
            result = slot.evaluate(request, problem, scratch)
    except DataError as error:  # the driver could read them
        raise NodeError(f"the samples cannot be read: {error}") from error
    except NodeError:
        raise
    except InfeasibleError as error:
        result = Result.failed("infeasible", str(error), seed=seed)
    except TrainerError as error:
        result = Result.failed(_FAILURES.get(type(error.__cause__), "error"), str(error), seed=seed)
    except Exception as error:  # noqa: BLE001 - every outcome is a result
        _LOG.info("the evaluation failed", exc_info=True)
        message = str(error) if isinstance(error, MenndlError) else one_line_with_place(error)
        result = Result.failed("error", message, seed=seed)
    times = {**result.times, "total": time.monotonic() - started}
    return replace(result, times=times, worker=_address())


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _address() -> str:
    """Return the address of the Dask worker that this runs on, else the host and the process number."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with contextlib.suppress(ValueError):
            return str(distributed.get_worker().address)
    return f"{socket.gethostname()}:{os.getpid()}"
