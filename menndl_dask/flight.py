"""The evaluations in flight: submitted to Dask, not yet home. Runs on the driver.

Whatever becomes of an evaluation, one result of it comes home. Only the genome and a few numbers go through Dask. Each
is a task of its own, unless they are shorter than Dask's own work for a task.
"""

from __future__ import annotations

import inspect
import logging
import os
import uuid
from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from menndl_dask.bundle import BundleSize
from menndl_dask.errors import RunError, one_line
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.parcel import (
    Delivery,
    Evaluate,
    NotBegun,
    Outcome,
    Task,
    deliver,
    opened,
    packed_common,
    packed_task,
)
from menndl_dask.result import Result
from menndl_dask.words import counted

_ATTEMPTS = 4  # submissions of an individual whose evaluation Dask has lost
_STATUS_S = 15  # seconds in which a scheduler must answer

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flying:
    task: Task
    attempt: int = 1
    put_back: int = 0  # how often it was not begun


_Bundle = tuple[_Flying, ...]  # that go as one task


def accepted(evaluate: Evaluate, **arguments: Any) -> dict[str, Any]:
    """Return those of the arguments that an evaluation takes: a user's own need not know all that ours does.

    >>> def mine(individual, problem, limits, *, seed, save, save_above): ...
    >>> accepted(mine, seed=1, bars=())
    {'seed': 1}
    """
    return _chosen(arguments, _parameters(evaluate))


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
        self._common = packed_common(evaluate, common)
        self._parameters = _parameters(evaluate)
        # a scheduler may have other searches: their evaluations have the same numbers
        self._once = uuid.uuid4().hex[:8]
        self._completed = as_completed(loop=client.loop)
        self._flying: dict[str, _Bundle] = {}
        self._bundle_size = BundleSize()
        self._futures: dict[str, Future[Any]] = {}
        self._landed: dict[str, bytes] = {}  # deliveries, before Dask says that their tasks have ended
        self.notes: list[str] = []
        self._trouble = ""  # what was last wrong with a worker's node
        self.submitted = 0
        self._listen()

    def __len__(self) -> int:
        return sum(map(len, self._flying.values()))

    @property
    def individuals(self) -> list[Individual]:
        """Who is in flight."""
        return [flying.task.individual for bundle in self._flying.values() for flying in bundle]

    @property
    def has_arrivals(self) -> bool:
        """Whether something has come home."""
        with self._completed.thread_condition:
            return bool(self._completed.has_ready())

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit evaluations; very short ones in bundles."""
        size = self._bundle_size.among(len(self) + len(tasks))
        self._submit([tuple(map(_Flying, part)) for part in _parts(tasks, size)])
        self.submitted += len(tasks)

    def arrivals(self, timeout: float) -> list[Evaluation]:
        """Return what has come home; wait for the first at most `timeout` seconds."""
        with self._completed.thread_condition:
            if not self._completed.has_ready():
                self._completed.thread_condition.wait(timeout)
        home: list[Evaluation] = []
        lost: list[_Flying] = []
        not_begun: list[_Flying] = []
        unfit: list[_Flying] = []
        behind: list[_Flying] = []
        for flying, outcome in self._landings():
            if isinstance(outcome, NotBegun):
                kept = unfit if outcome.trouble else behind if outcome.behind else not_begun
                kept.append(replace(flying, put_back=flying.put_back + 1))
                self._trouble = outcome.trouble or self._trouble
            elif outcome is None and flying.attempt < _ATTEMPTS:
                lost.append(replace(flying, attempt=flying.attempt + 1))
            else:
                home.append((flying.task.individual, outcome or _lost(flying.attempt)))
        if lost:
            self._resubmit(lost, f"Dask lost {counted(len(lost), 'evaluation')}; submitted again")
        if not_begun:
            count = counted(len(not_begun), "evaluation")
            self._resubmit(not_begun, f"{count} not begun on workers whose batch job ends too soon; put back")
        if unfit:
            told = f"{self._trouble}; the worker leaves, {counted(len(unfit), 'evaluation')} put back"
            logger.warning("%s", told)
            self._resubmit(unfit, told)
        if behind:
            self._resubmit(behind)
        return home

    def _landings(self) -> Iterator[tuple[_Flying, Outcome | None]]:
        """Yield what has become of the evaluations whose tasks have ended; nothing where Dask has lost one."""
        for future in self._completed.next_batch(block=False):
            self._futures.pop(future.key, None)
            bundle = self._flying.pop(future.key, ())
            landed = self._landed.pop(future.key, None)
            if not bundle:
                continue
            delivery = _asked_for(future) if landed is None else opened(landed)
            if isinstance(delivery, Delivery):
                self._bundle_size.tell(delivery.begun, delivery.seconds)
                yield from zip(bundle, delivery.outcomes, strict=True)
            elif len(bundle) == 1:
                yield bundle[0], delivery
            else:  # whose fault it was shows when each is by itself
                yield from ((flying, None) for flying in bundle)

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
        if not threads:
            self._check_hope()
        return threads

    def _check_hope(self) -> None:
        """Raise `RunError` if no worker will come any more."""
        cluster = self._client.cluster
        trouble = getattr(cluster, "trouble", None)
        if trouble is not None or (self._trouble and not hasattr(cluster, "trouble")):
            told = "; ".join(text for text in (self._trouble, trouble) if text)
            raise RunError(f"no worker is left, and none will come: {told}")

    def ground(self) -> list[Individual]:
        """Give up the evaluations that no worker has begun; return whose."""
        begun = {key for keys in self._processing().values() for key in keys}
        bundles = self._forget([key for key in self._flying if key not in begun])
        return [flying.task.individual for bundle in bundles for flying in bundle]

    def give_up(self) -> list[Individual]:
        """Give up the evaluations that workers have begun and end those workers' processes; return whose.

        Those of a bundle are submitted again, each by itself, since only one of them can have kept the worker.
        """
        threads = self.threads()
        # what a worker has no thread for has not begun: it runs elsewhere
        begun = {address: keys[: threads.get(address, 1)] for address, keys in self._processing().items()}
        held = {address: [key for key in keys if key in self._flying] for address, keys in begun.items()}
        bundles = self._forget([key for keys in held.values() for key in keys])
        if bundles:
            addresses = [address for address, keys in held.items() if keys]
            # their nannies bring them back; Dask's own restart may end a worker for good
            # (https://github.com/dask/distributed/issues/7312)
            self._client.run(os._exit, 1, workers=addresses, on_error="ignore")
        shared = [flying for bundle in bundles if len(bundle) > 1 for flying in bundle]
        if shared:
            again = [replace(flying, attempt=flying.attempt + 1) for flying in shared]
            self._resubmit(again, f"{counted(len(again), 'evaluation')} shared a task; submitted again one by one")
        return [bundle[0].task.individual for bundle in bundles if len(bundle) == 1]

    def close(self) -> None:
        """Give up all that is in flight."""
        self._completed.clear()
        self._forget(list(self._flying))
        if self._client.status == "running":
            self._client.unsubscribe_topic(self._topic)

    def accepted(self, **arguments: Any) -> dict[str, Any]:
        """Return those of the arguments that the evaluation takes."""
        return _chosen(arguments, self._parameters)

    @property
    def _topic(self) -> str:
        return f"evaluations-{self._once}"

    def _listen(self) -> None:
        self._client.subscribe_topic(self._topic, self._land)

    def _land(self, event: tuple[float, tuple[str, bytes]]) -> None:
        """Take a delivery; Dask calls this in a thread of its own, before it says that the task has ended."""
        key, delivery = event[1]
        if key in self._flying:
            self._landed[key] = delivery

    @property
    def _address(self) -> str:
        return str(getattr(self._client.scheduler, "address", None) or "its address")

    def _submit(self, bundles: Sequence[_Bundle]) -> None:
        keys = [self._key(bundle) for bundle in bundles]
        self._flying.update(zip(keys, bundles, strict=True))
        tasks = [[packed_task(flying.task) for flying in bundle] for bundle in bundles]
        topics, commons = [self._topic] * len(keys), [self._common] * len(keys)
        # one call for all: Dask keeps a record of each call for ever (https://github.com/dask/distributed/issues/7977)
        futures = self._client.map(deliver, keys, topics, tasks, commons, key=keys, pure=False)
        self._futures.update(zip(keys, futures, strict=True))
        self._completed.update(futures)

    def _resubmit(self, flyings: Sequence[_Flying], note: str = "") -> None:
        """Submit evaluations again, each by itself."""
        bundles = [(flying,) for flying in flyings]
        if self._client.status == "closed":
            self._flying.update((self._key(bundle), bundle) for bundle in bundles)
            raise RunError(f"lost the scheduler at {self._address}")
        self._listen()  # again: a scheduler to which the connection broke has forgotten it
        if note:
            self.notes.append(note)
        self._submit(bundles)

    def _processing(self) -> dict[str, list[str]]:
        """Return the keys that each worker's address works on."""
        if self._client.status != "running":
            return {}
        held = self._client.processing()
        return {str(address): [str(key) for key in keys] for address, keys in held.items()}

    def _forget(self, keys: Sequence[str]) -> list[_Bundle]:
        futures = [self._futures.pop(key) for key in keys if key in self._futures]
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)
        return [self._flying.pop(key) for key in keys]

    def _key(self, bundle: _Bundle) -> str:
        first = bundle[0]
        time = first.attempt + first.put_back
        again = f"-{time}" if time > 1 else ""
        others = f"+{len(bundle) - 1}" if len(bundle) > 1 else ""
        return f"evaluate-{first.task.individual.name}{others}{again}-{self._once}"


def _parts(tasks: Sequence[Task], size: int) -> list[Sequence[Task]]:
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _parameters(evaluate: Evaluate) -> frozenset[str] | None:
    """Return the names of what an evaluation takes; nothing where it takes anything."""
    parameters = inspect.signature(evaluate).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return frozenset(parameters)


def _chosen(arguments: Mapping[str, Any], names: frozenset[str] | None) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if names is None or name in names}


def _asked_for(future: Future[Any]) -> Delivery | Result | None:
    """Return what has come of a task of which no event has told: its failure, or nothing where Dask has lost it."""
    if future.status == "error":
        error = future.exception(timeout=_STATUS_S)
        return Result.failed("worker_lost" if isinstance(error, KilledWorker) else "error", one_line(error))
    try:
        delivery: Delivery | None = opened(future.result(timeout=_STATUS_S)) if future.status == "finished" else None
    except (Exception, CancelledError):  # whatever is wrong with the cluster, it is evaluated again
        logger.debug("what came of %s is lost", future.key, exc_info=True)
        return None
    return delivery


def _lost(attempts: int) -> Result:
    return Result.failed("worker_lost", f"Dask lost the evaluation {attempts} times")
