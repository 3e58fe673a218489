"""One evaluation, as the driver requests it and as a worker carries it out. Runs on workers.

An evaluation takes five forms on its way:

1. `Individual`: what evolution proposes.
2. `EvaluationRequest`: the individual with the arguments of its evaluation. It goes from the driver to a worker.
3. The training request (`menndl_dask.training.request`): plain values. It goes from the worker to the training process.
4. Messages (`menndl_dask.evaluation.result_builder`): what the training process reports until it ends.
5. `Result`: made of the messages on the worker. It goes to the driver, into the journal and to evolution.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from menndl_dask.cluster.node.retirement import is_too_late_for, retire_now
from menndl_dask.errors import NodeError, one_line
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result

Evaluate = Callable[..., Result]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """A request to evaluate one individual."""

    individual: Individual
    # keyword arguments of ``evaluate`` that differ from one evaluation to the next
    arguments: Mapping[str, Any] = field(default_factory=dict)
    # expected duration in seconds; a worker whose batch job ends earlier declines. 0 if unknown
    expected_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Declined:
    """A worker's answer that it has not begun an evaluation, which another worker should do."""

    # what is wrong with the worker's node; empty if the worker declined because its batch job ends too soon
    node_error: str = ""


def evaluate_remotely(request: EvaluationRequest, evaluate: Evaluate, *common: Any) -> Result | Declined:
    """Evaluate one individual on a worker; an exception of the user's code becomes a failed result."""
    if request.expected_s and is_too_late_for(request.expected_s):
        return Declined()
    try:
        result: Any = evaluate(request.individual, *common, **request.arguments)
    except NodeError as error:
        # an evaluation that fails at once leaves the worker free at once: it would fail one after the other
        retire_now("its node cannot evaluate")
        return Declined(f"{socket.gethostname()}: {error}")
    except Exception as error:  # noqa: BLE001  # user code may raise anything
        return Result.failed("error", one_line(error))
    if isinstance(result, Result):
        return result
    return Result.failed("error", f"evaluate: expected a Result, got {type(result).__name__}")
