"""What the predictions of a network cost, measured alone: latency, throughput and memory. Runs on a worker.

Latencies that are measured while other trainings run beside differ by a factor of three for the same network. So this
is done after all trainings, one network at a time, in a child process that does nothing else.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from menndl_dask.errors import TrainerError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result

BUSY = 0.1  # share of the cores, from which on other processes have disturbed a measurement
_LONGEST_S = 600.0


def measure(individual: Individual, problem: Problem, limits: Limits = Limits(), **_: Any) -> Result:
    """Build the network of an individual and measure its predictions, without training it.

    Returns
    -------
    Result
        Its fitness means nothing. Its costs are ``latency_ms`` (the median for one sample), ``samples_per_s`` (in
        batches), ``inference_bytes`` (peak memory of a batch beyond that of the process with the framework; where the
        system tells) and ``busy_share`` (the share of all cores that other processes took meanwhile, 0 to 1).
    """
    began = time.monotonic()
    child = ChildProcess("menndl_dask.prediction.inference_process")
    try:
        cost = cost_of(individual.genome, problem)
        sample_bytes = sum(each.activation_bytes for each in cost.layers)
        request = (individual.genome.to_dict(), problem.to_dict(), sample_bytes, tuple(sys.path))
        costs = child.ask(request, min(limits.seconds, _LONGEST_S))
    except TrainerError as error:
        return Result.failed("error", str(error))
    finally:
        child.close()
    return Result(0.0, costs=costs, times={"total": time.monotonic() - began})
