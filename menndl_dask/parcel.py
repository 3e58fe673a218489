"""Parcels: evaluations on their way to a worker, and their results on the way home. Runs on the driver and on workers.

What the driver packs is opened where it is evaluated, and nowhere in between: Dask's scheduler handles bytes, and needs
neither time for what is in them nor the user's modules. The outcome comes home as an event, which spares the driver to
ask for it through the scheduler; Dask keeps it on the worker too, until the driver lets go of it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from distributed import get_worker
from distributed.protocol import pickle

from menndl_dask.errors import NodeError, one_line
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.result import Result
from menndl_dask.retirement import is_too_late_for, leave

_TOGETHER_S = 0.1  # which those of a bundle may take before the rest of it goes elsewhere
_SEARCHES = 4  # whose common arguments a worker keeps open

Evaluate = Callable[..., Result]


@dataclass(frozen=True, slots=True)
class Task:
    """An evaluation to submit.

    Parameters
    ----------
    individual
        Who is evaluated.
    arguments
        Arguments of `evaluate` beyond those that are the same for all.
    seconds
        What it is expected to take; a worker whose batch job ends earlier does not begin it. 0: not known.
    """

    individual: Individual
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NotBegun:
    """What comes home where an evaluation was not begun: by default because the worker's batch job ends too soon.

    Parameters
    ----------
    trouble
        What is wrong with the worker's node, if that is why.
    behind
        Whether it is because those before it in its bundle took too long.
    """

    trouble: str = ""
    behind: bool = False


Outcome = Result | NotBegun


@dataclass(frozen=True, slots=True)
class Delivery:
    """What comes home of a bundle of evaluations.

    Parameters
    ----------
    outcomes
        Of each, in the bundle's order.
    seconds
        What those that were begun took together.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def begun(self) -> int:
        """How many were begun."""
        return sum(isinstance(outcome, Result) for outcome in self.outcomes)


def packed_task(task: Task) -> bytes:
    """Pack a task, without what its genome has worked out about itself."""
    individual = task.individual
    lean = replace(individual, genome=Genome(individual.genome.genes))
    return _packed((lean, dict(task.arguments), task.seconds))


def packed_common(evaluate: Evaluate, common: Sequence[Any]) -> bytes:
    """Pack what is the same for all evaluations of a search."""
    return _packed((evaluate, tuple(common)))


def opened(parcel: bytes) -> Any:
    """Return what was packed."""
    return pickle.loads(parcel)


_opened_common = lru_cache(_SEARCHES)(opened)


def deliver(key: str, topic: str, tasks: Sequence[bytes], common: bytes) -> bytes:
    """Evaluate, and tell the outcomes as an event; what Dask calls on a worker.

    Parameters
    ----------
    key
        What the evaluations are called in the event.
    topic
        Of the event, whose message is the key and the packed `Delivery`.
    tasks, common
        What was packed.

    Returns
    -------
    bytes
        The packed delivery, which Dask keeps on the worker.
    """
    delivery = _packed(delivered(tasks, common))
    get_worker().log_event(topic, (key, delivery))
    return delivery


def delivered(tasks: Sequence[bytes], common: bytes) -> Delivery:
    """Evaluate what was packed, one after the other; once that takes long, what is left is not begun."""
    started = ended = time.monotonic()
    outcomes: list[Outcome] = []
    for task in tasks:
        if outcomes and ended - started > _TOGETHER_S:
            break
        outcomes.append(evaluated(task, common))
        ended = time.monotonic()
    left = [NotBegun(behind=True)] * (len(tasks) - len(outcomes))
    return Delivery((*outcomes, *left), ended - started)


def evaluated(task: bytes, common: bytes) -> Outcome:
    """Evaluate what was packed; whatever goes wrong is a failure like others."""
    try:
        individual, arguments, seconds = opened(task)
        if seconds and is_too_late_for(seconds):
            return NotBegun()
        evaluate, shared = _opened_common(common)
        result = evaluate(individual, *shared, **arguments)
    except NodeError as error:
        # whoever fails at once is free at once: such a worker would take one evaluation after the other
        leave("its node is of no use")
        return NotBegun(f"{socket.gethostname()}: {error}")
    except Exception as error:  # noqa: BLE001  # of anybody's code
        return Result.failed("error", one_line(error))
    if isinstance(result, Result):
        return result
    return Result.failed("error", f"evaluate: expected a Result, got {type(result).__name__}")


def _packed(value: Any) -> bytes:
    return bytes(pickle.dumps(value))  # what is defined in a script itself goes along, by Dask's own rules
