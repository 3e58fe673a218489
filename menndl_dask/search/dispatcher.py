"""The dispatcher: submits evaluations to Dask and returns the results of those that completed. Runs on the driver.

Every evaluation that is submitted has exactly one result in the end:

* An evaluation that Dask lost, because its worker died, is submitted again. After four submissions it fails as
  ``worker_lost``.
* An evaluation that a worker declined is submitted again, as often as it takes. The worker retires.
* An evaluation whose worker is stuck is abandoned, see `Dispatcher.abandon_stuck`.
"""

from __future__ import annotations

import inspect
import logging
import os
import uuid
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from menndl_dask.errors import RunError, one_line
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.search.remote_evaluation import Declined, Evaluate, EvaluationRequest, evaluate_remotely
from menndl_dask.text import counted

_ATTEMPTS = 4  # submissions of an evaluation that Dask loses
_ANSWER_S = 15  # seconds in which the scheduler must answer

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class InFlight:
    """An evaluation that was submitted and has no result yet."""

    request: EvaluationRequest
    future: Future[Any] | None = None
    submissions: int = 0
    losses: int = 0  # submissions that Dask lost; the others before the last were declined by a worker


class Dispatcher:
    """Submits evaluations to the workers of a cluster and returns their results.

    Parameters
    ----------
    client
        Client of the cluster.
    evaluate
        Called on a worker as ``evaluate(individual, *common, **arguments)``.
    common
        Arguments that are the same for all evaluations. They travel with each request, so that no worker has to keep
        them and none can lose them.

    Attributes
    ----------
    notes
        Messages for the run's journal, such as that Dask lost an evaluation. The caller clears them.
    submitted
        Number of evaluations submitted so far.
    """

    def __init__(self, client: Client, evaluate: Evaluate, common: Sequence[Any]) -> None:
        self._client = client
        self._evaluate = evaluate
        self._common = tuple(common)
        # part of each key: other searches on the same scheduler have individuals with the same numbers
        self._search_id = uuid.uuid4().hex[:8]
        self._completed = as_completed(loop=client.loop)
        self._in_flight: dict[str, InFlight] = {}
        self._node_error = ""  # of the last worker that retired because of its node
        self.notes: list[str] = []
        self.submitted = 0

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def individuals(self) -> list[Individual]:
        """The individuals in flight."""
        return [one.request.individual for one in self._in_flight.values()]

    def submit(self, request: EvaluationRequest) -> None:
        """Submit an evaluation.

        Raises
        ------
        RunError
            If the connection to the scheduler is lost for good.
        """
        self._submit(InFlight(request))
        self.submitted += 1

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Return the evaluations that completed; wait up to `timeout_s` seconds for the first one.

        Those that were lost or declined are submitted again.
        """
        with self._completed.thread_condition:
            if not self._completed.has_ready():
                self._completed.thread_condition.wait(timeout_s)
        evaluations: list[Evaluation] = []
        lost: list[InFlight] = []
        too_late: list[InFlight] = []
        unfit: list[InFlight] = []
        for future in self._completed.next_batch(block=False):
            one = self._in_flight.pop(future.key, None)
            if one is None:  # it was cancelled
                continue
            outcome = _outcome_of(future)
            if outcome is None:
                one.losses += 1
                if one.losses < _ATTEMPTS:
                    lost.append(one)
                    continue
                outcome = Result.failed("worker_lost", f"Dask lost the evaluation {_ATTEMPTS} times")
            if isinstance(outcome, Result):
                evaluations.append((one.request.individual, outcome))
            else:
                (unfit if outcome.node_error else too_late).append(one)
                self._node_error = outcome.node_error or self._node_error
        self._submit_again(lost, too_late, unfit)
        return evaluations

    def _submit_again(self, lost: list[InFlight], too_late: list[InFlight], unfit: list[InFlight]) -> None:
        again = [*lost, *too_late, *unfit]
        if self._client.status == "closed":  # `worker_threads` will raise; the results that are there come first
            self._in_flight |= {one.request.individual.name: one for one in again}
            return
        if lost:
            self.notes.append(f"Dask lost {counted(len(lost), 'evaluation')}; submitted again")
        if too_late:
            count = counted(len(too_late), "evaluation")
            self.notes.append(f"{count} declined by workers whose batch job ends too soon; submitted again")
        if unfit:
            count = counted(len(unfit), "evaluation")
            self.notes.append(f"{self._node_error}; the worker retires, {count} submitted again")
            logger.warning("%s", self.notes[-1])
        for one in again:
            self._submit(one)

    def worker_threads(self) -> dict[str, int]:
        """Return the number of threads of each worker, by its address; empty while the scheduler does not answer.

        Raises
        ------
        RunError
            If the scheduler is lost for good, or if no worker is left and none will come.
        """
        if self._client.status == "closed":
            raise self._scheduler_lost()
        if self._client.status != "running":
            return {}
        scheduler: Any = self._client.scheduler  # Client.nthreads would wait for ever
        try:
            threads = dict(self._client.sync(scheduler.ncores, callback_timeout=_ANSWER_S))
        except (OSError, TimeoutError, CancelledError):
            # the client's status tells when it has given up
            logger.debug("the scheduler does not answer")
            return {}
        cluster = self._client.cluster
        trouble = getattr(cluster, "trouble", None)
        if not threads and (trouble is not None or (self._node_error and not hasattr(cluster, "trouble"))):
            why = "; ".join(text for text in (self._node_error, trouble) if text)
            raise RunError(f"no worker is left, and none will come: {why}")
        return threads

    def cancel_unstarted(self) -> int:
        """Cancel the evaluations that no worker has begun; return how many."""
        begun = {key for keys in self._processing().values() for key in keys}
        return len(self._cancel([key for key in self._in_flight if key not in begun]))

    def abandon_stuck(self) -> list[Individual]:
        """Give up all evaluations that workers have begun and restart these workers; return the individuals."""
        threads = self.worker_threads()
        # a task beyond a worker's threads has not begun: it will run elsewhere
        begun = {address: keys[: threads.get(address, 1)] for address, keys in self._processing().items()}
        ours = {address: [key for key in keys if key in self._in_flight] for address, keys in begun.items()}
        abandoned = self._cancel([key for keys in ours.values() for key in keys])
        if abandoned:
            addresses = [address for address, keys in ours.items() if keys]
            # the workers' nannies start them again; Dask's own restart may end a worker for good
            # (https://github.com/dask/distributed/issues/7312)
            self._client.run(os._exit, 1, workers=addresses, on_error="ignore")
        return abandoned

    def close(self) -> None:
        """Cancel all evaluations in flight."""
        self._completed.clear()
        self._cancel(list(self._in_flight))

    def _submit(self, one: InFlight) -> None:
        if self._client.status == "closed":
            raise self._scheduler_lost()
        one.submissions += 1
        again = f"-{one.submissions}" if one.submissions > 1 else ""
        key = f"evaluate-{one.request.individual.name}{again}-{self._search_id}"
        arguments = (one.request, self._evaluate, *self._common)
        one.future = self._client.submit(evaluate_remotely, *arguments, key=key, pure=False)
        self._in_flight[key] = one
        self._completed.add(one.future)

    def _processing(self) -> dict[str, list[str]]:
        """Return the keys of the tasks that each worker has, by its address."""
        held = self._client.processing() if self._client.status == "running" else {}
        return {str(address): [str(key) for key in keys] for address, keys in held.items()}

    def _cancel(self, keys: Sequence[str]) -> list[Individual]:
        cancelled = [self._in_flight.pop(key) for key in keys]
        if cancelled and self._client.status == "running":
            self._client.cancel([one.future for one in cancelled], force=True)
        return [one.request.individual for one in cancelled]

    def _scheduler_lost(self) -> RunError:
        return RunError(f"lost the scheduler at {getattr(self._client.scheduler, 'address', None) or 'its address'}")


def accepted(evaluate: Evaluate, **arguments: Any) -> dict[str, Any]:
    """Return those of the arguments that `evaluate` takes: a user's own function need not take all of ours.

    >>> def mine(individual, problem, limits, *, seed, save, save_above): ...
    >>> accepted(mine, seed=1, thresholds=())
    {'seed': 1}
    """
    parameters = inspect.signature(evaluate).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _outcome_of(future: Future[Any]) -> Result | Declined | None:
    """Return the outcome of an evaluation whose future has completed; None if Dask lost it."""
    try:
        if future.status == "error":
            error = future.exception(timeout=_ANSWER_S)
            return Result.failed("worker_lost" if isinstance(error, KilledWorker) else "error", one_line(error))
        if future.status != "finished":
            return None
        outcome: Result | Declined = future.result(timeout=_ANSWER_S)
    except (Exception, CancelledError):  # the worker that had the result may be gone, or the scheduler
        logger.debug("the result of %s is lost", future.key, exc_info=True)
        return None
    return outcome
