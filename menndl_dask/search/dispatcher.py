"""The dispatcher: submits evaluations to Dask and returns the results of those that completed. Runs on the driver.

Every evaluation that is submitted has exactly one result in the end:

* An evaluation that Dask lost is submitted again. After four losses it fails as ``worker_lost``.
* An evaluation whose worker died may be the cause. It is a suspect: it waits until others are done, and few suspects
  run at a time. After two deaths only one runs at a time, and alone where workers have several threads.
* An evaluation that a worker declined is submitted again, as often as it takes. The worker retires.
* An evaluation that runs for much longer than it may is given up as ``timed_out``, and its worker is ended. If the
  worker does not even answer then, the worker is the cause, and the evaluation is submitted again.
* An evaluation that the scheduler does not know any more, as after a broken connection, is submitted again.
* Where workers declare how much memory a training may use, an evaluation that is predicted to need more than the least
  goes to a larger worker or waits for one (`menndl_dask.search.placement.memory`). One that runs out of memory is
  submitted once more, to the largest. One that no worker can take waits while others run, then fails as
  ``out_of_memory`` without having been trained.
"""

from __future__ import annotations

import inspect
import logging
import math
import time
import uuid
from asyncio import CancelledError
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from menndl_dask.environment import MEMORY
from menndl_dask.errors import RunError, one_line, shortened
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.search.placement.memory import Need, Predict, WorkerMemory
from menndl_dask.search.remote_evaluation import Declined, Evaluate, EvaluationRequest, evaluate_remotely
from menndl_dask.search.scheduler_link import ANSWER_S, SchedulerLink
from menndl_dask.text import counted, duration

_ATTEMPTS = 4  # submissions of an evaluation that Dask loses
_LOOK_S = 5.0  # between two looks at what runs where
_UNKNOWN_S = 15.0  # for which the scheduler must not know an evaluation until it counts as lost
_PATIENCE = 1.5  # times its limit that an evaluation may take: it has a limit of its own, which should act before
_MARGIN_S = 60.0  # beyond that
_ENDED_S = 120.0  # in which the death of a worker that was ended here is told
_SHARE = 4  # of the slots, one in so many may have a suspect
_NAMED = 5  # individuals and workers in a note

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class InFlight:
    """An evaluation that was submitted and has no result yet."""

    request: EvaluationRequest
    future: Future[Any] | None = None
    submissions: int = 0
    losses: int = 0  # submissions that were lost without the death of a worker
    deaths: int = 0  # of workers that had it
    died: list[str] = field(default_factory=list)  # addresses of these
    worker: str = ""  # address of the worker that has begun it
    begun_at: float = 0.0  # monotonic clock when it was first seen there
    unanswered: int = 0  # times that its result was asked for in vain
    unknown_since: float | None = None  # monotonic clock since when the scheduler does not know it
    need: Need = field(default_factory=Need)
    demand: float = 0.0  # bytes that its worker must have for a training; 0 for any worker


@dataclass(frozen=True, slots=True)
class _Lost:
    """An evaluation has no result: Dask lost it, or workers died that had it."""

    deaths: int = 0
    worker: str = ""  # address of the last one


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
    predict
        Predicts the memory of an evaluation; None to submit each to any worker.

    Attributes
    ----------
    notes
        Messages for the run's journal, such as that Dask lost an evaluation. The caller clears them.
    losses
        Evaluations that were lost or given up, by the number of the network, with the seconds that they had run; None
        if they were not seen to run. The caller clears them.
    submitted
        Number of evaluations submitted so far.
    """

    def __init__(
        self, client: Client, evaluate: Evaluate, common: Sequence[Any], predict: Predict | None = None
    ) -> None:
        self._client = client
        self._link = SchedulerLink(client)
        self._evaluate = evaluate
        self._common = tuple(common)
        # part of each key: other searches on the same scheduler have individuals with the same numbers
        self._search_id = uuid.uuid4().hex[:8]
        self._completed = as_completed(loop=client.loop)
        self._unread: deque[Future[Any]] = deque()  # that have completed
        self._in_flight: dict[str, InFlight] = {}
        self._suspects: list[InFlight] = []  # that wait to be submitted again
        self._predict = predict
        self._memory = WorkerMemory(shared=getattr(client.cluster, "most_per_gpu", 1) > 1)
        self._too_large: list[InFlight] = []  # that wait for a larger worker
        self._threads: dict[str, int] = {}  # of each worker
        self._proven: set[str] = set()  # workers that have completed an evaluation
        self._ended: dict[str, float] = {}  # workers that were ended here, and when on the monotonic clock
        self._looked_at = 0.0
        self._node_error = ""  # of the last worker that retired because of its node
        self.notes: list[str] = []
        self.losses: list[tuple[int, float | None]] = []
        self.submitted = 0

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._suspects) + len(self._too_large)

    @property
    def hint(self) -> str:
        """What the user can do if there is no worker."""
        if self._client.cluster is None:
            return f"start workers for the scheduler at {self._link.address}, such as: dask worker {self._link.address}"
        if isinstance(self._client.cluster, LocalCluster):
            return "the workers of this machine do not start"
        return "see the queue of the batch system, and menndl cluster check"

    @property
    def individuals(self) -> list[Individual]:
        """The individuals without a result."""
        waiting = (*self._suspects, *self._too_large)
        return [one.request.individual for one in (*self._in_flight.values(), *waiting)]

    def room(self, target: int) -> int:
        """Return how many more evaluations may be submitted if `target` should be in flight."""
        if any(self._must_be_alone(one) for one in self._in_flight.values()):
            return 0
        return max(0, target - len(self._in_flight))

    def submit(self, request: EvaluationRequest) -> None:
        """Submit an evaluation.

        Raises
        ------
        RunError
            If the connection to the scheduler is lost for good.
        """
        need = self._predict(request.individual) if self._predict is not None else Need()
        self._place(InFlight(request, need=need))
        self.submitted += 1

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Return the evaluations that completed; wait up to `timeout_s` seconds for the first one.

        Those that were lost or declined are submitted again.
        """
        evaluations: list[Evaluation] = []
        lost: list[InFlight] = []
        too_late: list[InFlight] = []
        unfit: list[InFlight] = []
        for one, outcome in self._outcomes(timeout_s):
            if isinstance(outcome, Declined):
                error = shortened(str(outcome.node_error))
                (unfit if error else too_late).append(one)
                self._node_error = error or self._node_error
            elif isinstance(outcome, _Lost):
                failure = self._blamed(one, outcome)
                if failure is None:
                    lost.append(one)
                else:
                    evaluations.append((one.request.individual, failure))
            else:
                self._proven.add(outcome.worker)
                if not self._is_tried_with_more(one, outcome):
                    evaluations.append((one.request.individual, outcome))
        self._submit_again(lost, too_late, unfit)
        return evaluations + self._refused()

    def worker_threads(self) -> dict[str, int] | None:
        """Return the number of threads of each worker, by its address; None while the scheduler does not answer.

        Raises
        ------
        RunError
            If the scheduler is lost for good, or if no worker is left and none will come.
        """
        if self._link.is_closed:
            raise self._link.lost()
        threads = self._link.threads()
        if threads is None:
            return None
        if threads.keys() != self._threads.keys() and self._predict is not None:
            self._memory.update(self._link.declared(MEMORY) or {})
        self._threads = threads
        cluster = self._client.cluster
        trouble = getattr(cluster, "trouble", None)
        if not threads and (trouble is not None or (self._node_error and not hasattr(cluster, "trouble"))):
            why = "; ".join(text for text in (self._node_error, trouble) if text)
            raise RunError(f"no worker is left, and none will come: {why}")
        return threads

    def give_up_overdue(self, now: float) -> list[Evaluation]:
        """Look every few seconds at what runs where; give up what runs for too long, and return it as failed.

        Their workers are ended. What the scheduler has forgotten is submitted again. `now` is the monotonic clock in
        seconds. Does as good as no work if the last look was only just now, or if the scheduler does not answer.
        """
        if now - self._looked_at < _LOOK_S or not self._in_flight:
            return []
        self._looked_at = now
        processing = self._link.processing()
        if processing is None:
            return []
        for address, keys in processing.items():
            for key in keys[: self._threads.get(address, 1)]:  # one beyond a worker's threads has not begun
                one = self._in_flight.get(key)
                if one is not None and one.worker != address:
                    one.worker, one.begun_at = address, now
        failed = self._submit_forgotten(now)
        late = [key for key, one in self._in_flight.items() if one.worker and now - one.begun_at > self._limit_of(one)]
        return failed + (self._give_up(late, now) if late else [])

    def retire(self, addresses: Collection[str]) -> bool:
        """Retire workers, if at least as many others stay; return whether they were retired."""
        is_few = bool(addresses) and 2 * len(addresses) <= len(self._threads) and set(addresses) <= set(self._threads)
        return is_few and self._link.retire(addresses)

    def cancel_unstarted(self) -> int:
        """Cancel the evaluations that no worker has begun; return how many."""
        processing = self._link.processing()
        if processing is None:
            return 0  # it is not known which these are
        begun = {key for keys in processing.values() for key in keys}
        left = len(self._suspects) + len(self._too_large)
        self._suspects.clear()
        self._too_large.clear()
        return left + len(self._cancel([key for key in self._in_flight if key not in begun]))

    def close(self) -> None:
        """Cancel all evaluations in flight."""
        self._completed.clear()
        self._suspects.clear()
        self._too_large.clear()
        self._cancel(list(self._in_flight))

    # --- memory -------------------------------------------------------------------------------------------------------

    def _place(self, one: InFlight) -> None:
        """Submit an evaluation to the workers that have enough memory for it, or let it wait for one."""
        one.demand = self._memory.demand(one.need)
        if math.isinf(one.demand):
            self._too_large.append(one)
        else:
            self._submit(one)

    def _refused(self) -> list[Evaluation]:
        """Submit what fits by now; return what no worker can take as failed, once nothing else is left to be done."""
        waiting, self._too_large = self._too_large, []
        for one in waiting:
            self._place(one)
        # the workers of this machine stay as they are; elsewhere others may join while there is something to do
        may_come = not isinstance(self._client.cluster, LocalCluster) and (self._in_flight or self._suspects)
        kept = max(1, sum(self._threads.values())) if may_come else 0
        refused, self._too_large = self._too_large[kept:], self._too_large[:kept]
        return [
            (one.request.individual, Result.failed("out_of_memory", self._memory.refusal(one.need)))
            for one in refused
        ]  # fmt: skip

    def _is_tried_with_more(self, one: InFlight, result: Result) -> bool:
        """Submit an evaluation again that ran out of memory on a worker that has less than others."""
        has, most = one.demand if self._memory.shared else self._memory.of(result.worker), self._memory.largest
        if result.failure != "out_of_memory" or one.demand >= most or has >= most:
            return False
        one.demand = most
        self.notes.append(
            f"network {one.request.individual.id} ran out of memory with {has / 1e9:.1f} GB; "
            f"trained again where there are {most / 1e9:.1f} GB"
        )
        self._submit(one)
        return True

    def _limited(self, one: InFlight) -> EvaluationRequest:
        """Return the request of an evaluation, which may use its part of a GPU's memory where others use the rest."""
        if not self._memory.shared or not one.demand:
            return one.request
        return replace(one.request, arguments={**one.request.arguments, "gpu_bytes": one.demand})

    # --- submit -------------------------------------------------------------------------------------------------------

    def _submit(self, one: InFlight) -> None:
        if self._link.is_closed:
            raise self._link.lost()
        one.submissions += 1
        one.worker, one.unanswered, one.unknown_since = "", 0, None
        again = f"-{one.submissions}" if one.submissions > 1 else ""
        key = f"{one.request.title}{again}-{self._search_id}"
        arguments = (self._limited(one), self._evaluate, *self._common)
        priority = -1 if one.deaths else 0
        demanded = {MEMORY: one.demand} if one.demand else None
        one.future = self._client.submit(
            evaluate_remotely, *arguments, key=key, pure=False, priority=priority, resources=demanded
        )
        self._in_flight[key] = one
        self._completed.add(one.future)

    def _submit_again(self, lost: list[InFlight], too_late: list[InFlight], unfit: list[InFlight]) -> None:
        suspects, innocent = [one for one in lost if one.deaths], [one for one in lost if not one.deaths]
        self._suspects += suspects
        again = [*innocent, *too_late, *unfit]
        if self._link.is_closed:  # `worker_threads` will raise; the results that are there come first
            self._in_flight |= {one.request.individual.name: one for one in again}
            return
        if suspects:
            workers = sorted({one.died[-1] for one in suspects})
            names = _listed(list(map(str, sorted(one.request.individual.id for one in suspects))))
            lost_with = f"{counted(len(workers), 'worker')} died ({_listed(workers)}) while evaluating network {names}"
            self.notes.append(f"{lost_with}; evaluated again later, few at a time")
        if innocent:
            self.notes.append(f"Dask lost {counted(len(innocent), 'evaluation')}; submitted again")
        if too_late:
            count = counted(len(too_late), "evaluation")
            self.notes.append(f"{count} declined by workers whose batch job ends too soon; submitted again")
        if unfit:
            count = counted(len(unfit), "evaluation")
            self.notes.append(f"{self._node_error}; the worker retires, {count} submitted again")
            logger.warning("%s", self.notes[-1])
        for one in again:
            self._submit(one)
        self._submit_suspects()

    def _submit_suspects(self) -> None:
        """Submit suspects as far as they may run now."""
        at_once = max(1, sum(self._threads.values()) // _SHARE)
        for one in list(self._suspects):
            running = [other for other in self._in_flight.values() if other.deaths]
            is_free = len(running) < (at_once if one.deaths == 1 else 1)
            if is_free and not (self._must_be_alone(one) and self._in_flight):
                self._suspects.remove(one)
                self._submit(one)

    def _must_be_alone(self, one: InFlight) -> bool:
        """Return whether the evaluation might end others with its worker."""
        return one.deaths > 1 and max(self._threads.values(), default=1) > 1

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _outcomes(self, timeout_s: float) -> Iterator[tuple[InFlight, Result | Declined | _Lost]]:
        """Yield what became of evaluations; wait up to `timeout_s` seconds for the first one."""
        with self._completed.thread_condition:
            if not self._completed.has_ready():
                self._completed.thread_condition.wait(timeout_s)
        self._unread.extend(self._completed.next_batch(block=False))
        for _ in range(len(self._unread)):
            future = self._unread.popleft()
            key = str(future.key)
            one = self._in_flight.get(key)
            if one is None:  # it was cancelled
                continue
            outcome = self._outcome_of(future)
            if outcome is None and one.unanswered < _ATTEMPTS:
                one.unanswered += 1
                self._unread.append(future)
                return  # the others would not be answered either
            del self._in_flight[key]
            yield one, outcome or _Lost()

    def _outcome_of(self, future: Future[Any]) -> Result | Declined | _Lost | None:
        """Return the outcome of an evaluation whose future has completed; None if it cannot be known now."""
        if future.status == "finished":
            answer = self._link.result(str(future.key))
            if not answer:
                return None if answer is None else _Lost()
            # the worker has made it plain, but may have another version
            return answer[0] if isinstance(answer[0], Declined) else Result.returned(answer[0])
        try:
            error = future.exception(timeout=ANSWER_S) if future.status == "error" else None
        except (Exception, CancelledError):  # one that cannot be unpickled here
            logger.debug("the error of %s cannot be read", future.key, exc_info=True)
            error = None
        if isinstance(error, KilledWorker):
            return _Lost(error.allowed_failures + 1, str(error.last_worker.address))
        return _Lost() if error is None else Result.failed("error", one_line(error))

    def _blamed(self, one: InFlight, lost: _Lost) -> Result | None:
        """Count a loss; return a failure if the evaluation was lost too often."""
        self._count_loss(one)
        if time.monotonic() - self._ended.get(lost.worker, -math.inf) < _ENDED_S:
            return None  # because of another evaluation there
        one.deaths += lost.deaths
        one.losses += not lost.deaths
        one.died += [lost.worker] if lost.deaths else []
        if one.deaths + one.losses < _ATTEMPTS:
            return None
        if not one.deaths:
            return Result.failed("worker_lost", f"Dask lost the evaluation {one.losses} times")
        others = f", and Dask lost it {counted(one.losses, 'time')}" if one.losses else ""
        workers = f"{counted(one.deaths, 'worker')} died while they evaluated it ({_listed(one.died)}){others}"
        return Result.failed("worker_lost", workers, worker=lost.worker)

    def _count_loss(self, one: InFlight) -> None:
        """Count what an evaluation without a result has cost."""
        seconds = round(max(0.0, time.monotonic() - one.begun_at), 1) if one.worker else None
        self.losses.append((one.request.individual.id, seconds))

    # --- what runs for too long, and what is forgotten ----------------------------------------------------------------

    def _limit_of(self, one: InFlight) -> float:
        """Return the seconds after which an evaluation that was begun is given up."""
        # the evaluations of a process may have to wait for each other
        limit = _PATIENCE * one.request.limit_s * self._threads.get(one.worker, 1) + _MARGIN_S
        return limit if one.worker in self._proven else limit + one.request.start_s

    def _give_up(self, keys: Collection[str], now: float) -> list[Evaluation]:
        """Give up evaluations and end their workers; return them as failed, except those whose workers are silent."""
        given_up = [self._in_flight[key] for key in keys]
        self._cancel(keys)
        workers = {one.worker for one in given_up}
        self._ended |= dict.fromkeys(workers, now)
        silent = self._link.end_workers(workers)
        longest = duration(max(now - one.begun_at for one in given_up))
        quiet = f", {len(silent)} of them silent" if silent else ""
        restarted = f"{counted(len(workers), 'worker')}{quiet}"
        self.notes.append(f"gave up {counted(len(given_up), 'evaluation')} after {longest} and restarted {restarted}")
        failed: list[Evaluation] = []
        for one in given_up:
            if one.worker not in silent:
                self._count_loss(one)
                taken = f"not ended after {duration(now - one.begun_at)} on its worker"
                message = f"{taken}, where it may take {duration(one.request.limit_s)}"
                failed.append((one.request.individual, Result.failed("timed_out", message, worker=one.worker)))
        return failed + self._lose([one for one in given_up if one.worker in silent])

    def _submit_forgotten(self, now: float) -> list[Evaluation]:
        """Submit those again that the scheduler does not know, or has completed without a word."""
        pending = [key for key, one in self._in_flight.items() if one.future is not None and not one.future.done()]
        states = self._link.states(pending) if pending else None
        if states is None:
            return []
        forgotten: list[InFlight] = []
        for key in pending:
            one = self._in_flight[key]
            if states.get(key) in ("waiting", "queued", "no-worker", "processing"):
                one.unknown_since = None
            elif one.unknown_since is None:
                one.unknown_since = now
            elif now - one.unknown_since > _UNKNOWN_S:
                forgotten.append(one)
                self._cancel([key])
        return self._lose(forgotten)

    def _lose(self, lost: Sequence[InFlight]) -> list[Evaluation]:
        """Submit evaluations again that were lost, not by the death of a worker; return those lost too often."""
        failures = [(one, self._blamed(one, _Lost())) for one in lost]
        self._submit_again([one for one, failure in failures if failure is None], [], [])
        return [(one.request.individual, failure) for one, failure in failures if failure is not None]

    def _cancel(self, keys: Collection[str]) -> list[Individual]:
        cancelled = [self._in_flight.pop(key) for key in keys]
        if cancelled and self._client.status == "running":
            self._client.cancel([one.future for one in cancelled], force=True)
        return [one.request.individual for one in cancelled]


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


def _listed(words: Sequence[str]) -> str:
    """Return the first few words, and how many more there are."""
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
