"""The evaluations in flight: submitted to Dask, not yet home. Runs on the driver.

Whatever becomes of an evaluation, one result of it comes home. Only the genome and a few numbers go through Dask.
"""

from __future__ import annotations

import inspect
import logging
import os
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from menndl_dask.errors import RunError
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.result import Result
from menndl_dask.retirement import is_too_late_for
from menndl_dask.table import Evaluation

_ATTEMPTS = 4  # submissions of an individual whose evaluation Dask has lost
_LINE = 300  # characters of an exception in a result's message
_STATUS_S = 15  # seconds in which a scheduler must answer

logger = logging.getLogger(__name__)
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
    """What comes home where an evaluation was not begun, because the worker's batch job ends too soon."""


@dataclass(slots=True)
class _Flying:
    task: Task
    attempt: int = 1
    put_back: int = 0  # how often it was not begun


def run_task(task: Task, evaluate: Evaluate, common: Sequence[Any]) -> Result | NotBegun:
    """Evaluate an individual; what Dask calls on a worker. An exception of `evaluate` is a failure like others."""
    if task.seconds and is_too_late_for(task.seconds):
        return NotBegun()
    try:
        return evaluate(task.individual, *common, **task.arguments)
    except Exception as error:  # noqa: BLE001  # of anybody's code
        return _error(error)


def accepted(evaluate: Evaluate, **arguments: Any) -> dict[str, Any]:
    """Return those of the arguments that an evaluation takes: a user's own need not know all that ours does.

    >>> def mine(individual, problem, limits, *, seed, save, save_above): ...
    >>> accepted(mine, seed=1, bars=())
    {'seed': 1}
    """
    parameters = inspect.signature(evaluate).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


class Flight:
    """Submits evaluations to the workers and brings their results home, each once.

    Parameters
    ----------
    client
        Of the cluster.
    evaluate
        Called on a worker as ``evaluate(individual, *common, **arguments)``.
    common
        Arguments that are the same for all evaluations.
    """

    def __init__(self, client: Client, evaluate: Evaluate, common: Sequence[Any]) -> None:
        self._client = client
        self._evaluate = evaluate
        self._common = tuple(common)
        self._completed = as_completed(with_results=True, raise_errors=False, loop=client.loop)
        self._flying: dict[str, _Flying] = {}
        self._futures: dict[str, Future[Any]] = {}
        self.notes: list[str] = []
        self.submitted = 0

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def individuals(self) -> list[Individual]:
        """Who is in flight."""
        return [flying.task.individual for flying in self._flying.values()]

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit evaluations."""
        self._submit([_Flying(task) for task in tasks])
        self.submitted += len(tasks)

    def arrivals(self, timeout: float) -> list[Evaluation]:
        """Return what has come home; wait for the first at most `timeout` seconds."""
        with self._completed.thread_condition:
            if not self._completed.has_ready():
                self._completed.thread_condition.wait(timeout)
        home: list[Evaluation] = []
        lost: list[_Flying] = []
        not_begun: list[_Flying] = []
        for future, outcome in self._completed.next_batch(block=False):
            self._futures.pop(future.key, None)
            flying = self._flying.pop(future.key, None)
            if flying is None:
                continue
            if isinstance(outcome, NotBegun):
                not_begun.append(replace(flying, put_back=flying.put_back + 1))
                continue
            result = _result_of(future.status, outcome)
            if result is None and flying.attempt < _ATTEMPTS:
                lost.append(replace(flying, attempt=flying.attempt + 1))
                continue
            home.append((flying.task.individual, result or _lost(flying.attempt)))
        if lost:
            self._resubmit(lost, "Dask lost {}; submitted again")
        if not_begun:
            self._resubmit(not_begun, "{} not begun on workers whose batch job ends too soon; put back")
        return home

    def threads(self) -> dict[str, int]:
        """Return the number of threads of each worker's address.

        Raises
        ------
        RunError
            If the scheduler is gone for good, or no worker is left and the batch system gives no more.
        """
        if self._client.status == "closed":
            raise RunError(f"lost the scheduler at {self._address}")
        if self._client.status != "running":
            return {}
        scheduler: Any = self._client.scheduler  # Client.nthreads would wait for ever
        try:
            threads = dict(self._client.sync(scheduler.ncores, callback_timeout=_STATUS_S))
        except (OSError, TimeoutError, CancelledError):
            # on its way out; the client's status tells when it has given up
            logger.debug("the scheduler at %s does not answer", self._address)
            return {}
        trouble = getattr(self._client.cluster, "trouble", None)
        if trouble is not None and not threads:
            raise RunError(f"no worker is left, and none will come: {trouble}")
        return threads

    def ground(self) -> list[Individual]:
        """Give up the evaluations that no worker has begun; return whose."""
        begun = {key for keys in self._processing().values() for key in keys}
        return self._forget([key for key in self._flying if key not in begun])

    def give_up(self) -> list[Individual]:
        """Give up the evaluations that workers have begun and end those workers' processes; return whose."""
        threads = self.threads()
        # what a worker has no thread for has not begun: it runs elsewhere
        begun = {address: keys[: threads.get(address, 1)] for address, keys in self._processing().items()}
        held = {address: [key for key in keys if key in self._flying] for address, keys in begun.items()}
        given_up = self._forget([key for keys in held.values() for key in keys])
        if given_up:
            addresses = [address for address, keys in held.items() if keys]
            # their nannies bring them back; Dask's own restart may end a worker for good
            # (https://github.com/dask/distributed/issues/7312)
            self._client.run(os._exit, 1, workers=addresses, on_error="ignore")
        return given_up

    def close(self) -> None:
        """Give up all that is in flight."""
        self._completed.clear()
        self._forget(list(self._flying))

    @property
    def _address(self) -> str:
        return str(getattr(self._client.scheduler, "address", None) or "its address")

    def _submit(self, flyings: Sequence[_Flying]) -> None:
        keys = [_key(flying) for flying in flyings]
        tasks = [_lean(flying.task) for flying in flyings]
        # one call for all: Dask keeps a record of each call for ever (https://github.com/dask/distributed/issues/7977)
        futures = self._client.map(run_task, tasks, key=keys, pure=False, evaluate=self._evaluate, common=self._common)
        self._flying.update(zip(keys, flyings, strict=True))
        self._futures.update(zip(keys, futures, strict=True))
        self._completed.update(futures)

    def _resubmit(self, flyings: Sequence[_Flying], note: str) -> None:
        if self._client.status == "closed":
            self._flying.update((_key(flying), flying) for flying in flyings)
            raise RunError(f"lost the scheduler at {self._address}")
        self.notes.append(note.format(f"{len(flyings)} evaluation{'s' if len(flyings) != 1 else ''}"))
        self._submit(flyings)

    def _processing(self) -> dict[str, list[str]]:
        """Return the keys that each worker's address works on."""
        if self._client.status != "running":
            return {}
        held = self._client.processing()
        return {str(address): [str(key) for key in keys] for address, keys in held.items()}

    def _forget(self, keys: Sequence[str]) -> list[Individual]:
        futures = [self._futures.pop(key) for key in keys if key in self._futures]
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)
        return [self._flying.pop(key).task.individual for key in keys]


def _key(flying: _Flying) -> str:
    time = flying.attempt + flying.put_back
    again = f"-{time}" if time > 1 else ""
    return f"evaluate-{flying.task.individual.name}{again}"


def _lean(task: Task) -> Task:
    """Return the task without what its genome has worked out about itself."""
    individual = task.individual
    return replace(task, individual=replace(individual, genome=Genome(individual.genome.genes)))


def _result_of(status: str, outcome: Any) -> Result | None:
    """Return what came of an evaluation; nothing where Dask has lost it."""
    if status == "finished" and isinstance(outcome, Result):
        return outcome
    if status == "finished" and not isinstance(outcome, BaseException):
        return Result.failed("error", f"evaluate: expected a Result, got {type(outcome).__name__}")
    if status == "error":
        error = outcome[1] if isinstance(outcome, tuple) else outcome
        if isinstance(error, KilledWorker):
            return Result.failed("worker_lost", " ".join(str(error).split())[:_LINE])
        return _error(error)
    return None


def _error(error: BaseException) -> Result:
    return Result.failed("error", f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LINE])


def _lost(attempts: int) -> Result:
    return Result.failed("worker_lost", f"Dask lost the evaluation {attempts} times")
