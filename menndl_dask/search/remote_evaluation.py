"""One evaluation, as the driver requests it and as a worker carries it out. Runs on workers.

An evaluation takes five forms on its way:

1. `Individual`: what evolution proposes.
2. `EvaluationRequest`: the individual with the arguments of its evaluation. It goes from the driver to a worker.
3. The training request (`menndl_dask.training.request`): plain values. It goes from the worker to the training process.
4. Messages (`menndl_dask.evaluation.result_builder`): what the training process reports until it ends.
5. `Result`: made of the messages on the worker. It goes to the driver, into the journal and to evolution.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import get_worker

from menndl_dask.cluster.node.retirement import is_too_late_for, retire_now
from menndl_dask.errors import NodeError, one_line
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result

Evaluate = Callable[..., Result]
START_S = 1200.0  # in which a worker imports Keras and stages the samples, before its first training


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A request to evaluate one individual."""

    individual: Individual
    # keyword arguments of ``evaluate`` that differ from one evaluation to the next
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # expected duration in seconds; a worker whose batch job ends earlier declines. 0 if unknown
    expected_s: float = 0.0
    # seconds that it may take, and seconds more for the first one of a worker
    limit_s: float = math.inf
    start_s: float = 0.0
    # of the run, one word that Dask's pages show
    phase: str = "search"

    @property
    def title(self) -> str:
        """Return the beginning of its task's name, such as ``search-00000012-crossover``.

        Dask groups and colours tasks by what stands before the number. The operator must not stand there: Dask keeps
        tasks back on the scheduler only if they belong to a large group, and a group ends with its last task in flight.
        """
        word = "".join(c if c.isalnum() or c == "_" else "_" for c in self.individual.origin)
        return "-".join(filter(None, (self.phase, self.individual.name, word[:40])))


@dataclass(frozen=True, slots=True)
class Declined:
    """A worker's answer that it has not begun an evaluation, which another worker should do."""

    # what is wrong with the worker's node; empty if the worker declined because its batch job ends too soon
    node_error: str = ""


def evaluate_remotely(request: EvaluationRequest, evaluate: Evaluate, *common: Any) -> Result | Declined:
    """Evaluate one individual on a worker, and return a result of plain values.

    An exception of the user's code, whatever it raises, and what is no result become a failed result.
    """
    if request.expected_s and is_too_late_for(request.expected_s):
        return Declined()
    began, clock = time.time(), time.monotonic()
    try:
        result = Result.returned(evaluate(request.individual, *common, **request.arguments))
    except NodeError as error:
        # an evaluation that fails at once leaves the worker free at once: it would fail one after the other
        retire_now("its node cannot evaluate")
        return Declined(f"{socket.gethostname()}: {one_line(error).removeprefix('NodeError: ')}")
    except BaseException as error:  # noqa: BLE001  # user code may raise anything, also SystemExit
        result = Result.failed("error", one_line(error))
    times = {"total": time.monotonic() - clock, **result.times}
    return replace(result, worker=result.worker or _address(), times=times, began=began)


def _address() -> str:
    """Return the address of the worker on which this runs; empty if it does not run on one."""
    try:
        return str(get_worker().address)
    except ValueError:
        return ""
