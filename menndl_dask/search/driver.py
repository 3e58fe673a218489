"""The driver: keeps the workers busy with one search until its budget is spent. Runs on the driver.

`Driver._loop` is the search: ask evolution for networks, submit them, wait for the first result, record it in the
journal, tell it to evolution. It knows no genetics. Everything it needs to carry on after a crash is in the run
directory.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from distributed import Client

from menndl_dask import own_code
from menndl_dask.errors import JournalError, RunError
from menndl_dask.evaluation.evaluation import evaluate as train_and_measure
from menndl_dask.evolution.evolution import SpaceExhausted
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.objective import objectives_of
from menndl_dask.result import Result
from menndl_dask.run import stop_request
from menndl_dask.run.kept_models import KeptModels
from menndl_dask.run.progress import Counts, Progress
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.search.dispatcher import Dispatcher, accepted
from menndl_dask.search.durations import DurationEstimate
from menndl_dask.search.forecast.live import LiveForecast
from menndl_dask.search.islands.migration import Migration, with_migrants
from menndl_dask.search.placement.memory import prediction
from menndl_dask.search.placement.sharing import Sharing
from menndl_dask.search.remote_evaluation import START_S, EvaluationRequest
from menndl_dask.search.rungs import PruningRules
from menndl_dask.search.same_failure import SameFailure
from menndl_dask.search.throttle import Throttle
from menndl_dask.search.workers import Workers
from menndl_dask.text import counted, duration, stopped_by

if TYPE_CHECKING:
    from menndl_dask.search.search import Search

_CHECK_S = 1.0  # between two checks of the workers, of requests to stop and of the other islands
_SEEDS = 2**31  # what frameworks accept as a seed
_BATCH = 16  # networks that are asked for before they are submitted
_PATIENCE = 1.5  # times the longest evaluation so far: how long the last ones are waited for when the time is up
_TOLD = 5  # equal failures in a row that are told
_RETIRED = 3  # times that workers retire because all their evaluations fail

logger = logging.getLogger(__name__)


class Driver:
    """Runs a search on a cluster, from its start or resumption to its end.

    The budget, evaluations and hours, includes earlier starts; None if unlimited.

    Attributes
    ----------
    stopped
        Why the search ended before its budget was spent. None if it did not.
    """

    def __init__(
        self,
        search: Search,
        client: Client,
        recorder: Recorder,
        evaluations: int | None,
        hours: float | None,
        wait_s: float | None = None,
        forecast: LiveForecast | None = None,
    ) -> None:
        self._search = search
        self._evolution = search.evolution
        self._recorder = recorder
        self._networks = KeptModels(search.path.resolve() / "networks")
        is_ours = search.problem is not None and search.evaluate is train_and_measure
        predict = prediction(search.problem) if search.problem is not None and is_ours else None
        self._dispatcher = Dispatcher(client, search.evaluate, (search.problem, search.limits), predict)
        self._workers = Workers(wait_s, self._dispatcher.hint)
        self._sharing = Sharing(getattr(client.cluster, "most_per_gpu", 1))
        self._same = SameFailure()
        self._present = (0, 0, 0)  # workers, slots and nodes, as the journal has them
        self._retired = 0  # times that workers were retired because all their evaluations failed
        self._duration = DurationEstimate(search.limits.seconds)
        self._rules: PruningRules | None = None
        if search.problem is not None:
            objectives = objectives_of(search.evolution, search.problem.objectives)
            self._rules = PruningRules(search.problem.budget, objectives)
        self._migration: Migration | None = None
        if search.island is not None:
            evolution = with_migrants(search.evolution, search.island)
            self._migration = Migration(search.whole, search.island, evolution, recorder)
        self._forecast = forecast or LiveForecast()
        now, self._spent_s, self._hours = time.monotonic(), recorder.seconds_spent(), hours
        deadline = None if hours is None else now + max(0.0, 3600.0 * hours - self._spent_s)
        self._counts = Counts(now, evaluations, deadline)
        self._to_resume: deque[Individual] = deque()  # in flight when an earlier driver ended
        self._is_exhausted = False  # evolution has no further network
        self._checked_at = -_CHECK_S
        self._longest_s = 0.0  # of the evaluations so far
        self._patience_ends: float | None = None  # when the last evaluations are no longer waited for
        self.stopped: str | None = None

    def run(
        self, started: Mapping[str, Any], progress: Progress | None, on_change: Callable[[Run], object] | None
    ) -> None:
        """Search until the budget is spent; `started` is what the journal records of this start.

        Raises
        ------
        RunError
            If the scheduler is lost for good, no worker is left and none will come, or the journal cannot be written.
        """
        self._replay()
        self._exchange(time.monotonic())
        if self._remaining() == 0:
            return
        self._recorder.started(**started)
        if self._counts.done or self._to_resume:
            again = f"; {counted(len(self._to_resume), 'network')} in flight then: submitted again"
            self._note(f"carried on after {counted(self._counts.done, 'evaluation')}{again if self._to_resume else ''}")
        try:
            self._loop(progress, Throttle(on_change, self._search.path))
        except JournalError:  # says where the results are
            raise
        except RunError as error:
            safe = f"all results so far are safe in {self._search.path}, the same command carries on"
            raise RunError(f"{error}; {safe}") from error
        except KeyboardInterrupt as end:
            self._record_and_tell(self._same.release(), time.monotonic())
            self._note(stopped_by(end))
            raise
        finally:
            self._dispatcher.close()
            if self._migration is not None:
                self._migration.announce_end(self._counts, time.monotonic())
            self._recorder.ended()
            if progress is not None:
                progress.close(self._counts, time.monotonic())

    def _loop(self, progress: Progress | None, report: Throttle) -> None:
        """Ask, submit, wait for the first result, record, tell, until no evaluation is in flight or to be submitted."""
        self._check(time.monotonic())
        self._ask_and_submit()
        while self._dispatcher or self._waits_for_islands():
            completed = self._dispatcher.completed(_CHECK_S)  # waits for the first
            now = time.monotonic()
            self._sift(completed, now)
            self._check(now)
            self._ask_and_submit()
            if not self._dispatcher:  # no other result will show whether they are the networks' failures
                self._record_and_tell(self._same.release(), now)
            if self._is_ending(now):
                self._wind_down(now)
            if progress is not None:
                progress.show(self._counts, now)
            if completed:
                report(now)
        diagnosis = getattr(self._evolution, "diagnosis", lambda: None)()
        if diagnosis:
            self._note(diagnosis)

    # --- ask and submit -----------------------------------------------------------------------------------------------

    def _ask_and_submit(self) -> None:
        """Submit as many evaluations as keep the workers busy, those of an earlier driver first."""
        while True:
            room = self._dispatcher.room(self._target())
            count = min(_BATCH, room, self._remaining())
            if count <= 0:
                return
            individuals = [self._to_resume.popleft() for _ in range(min(count, len(self._to_resume)))]
            individuals += self._ask(count - len(individuals))
            if not individuals:
                return
            for individual in individuals:
                self._dispatcher.submit(self._request(individual))

    def _target(self) -> int:
        """Return how many evaluations should be in flight."""
        if self._sharing.most > 1:  # each worker may train several networks, but need not
            return self._sharing.level * len(self._workers)
        return self._workers.target_in_flight(self._dispatcher.submitted)

    def _ask(self, count: int) -> list[Individual]:
        """Ask evolution for up to `count` networks, and write them into the journal."""
        if count == 0 or self._is_exhausted:
            return []
        try:
            asked = self._evolution.ask(count)
        except SpaceExhausted as end:
            self._is_exhausted = True
            self._note(str(end))
            return []
        self._recorder.asked(asked)
        self._search.replayed += len(asked)
        return asked

    def _request(self, individual: Individual) -> EvaluationRequest:
        seed = int(np.random.SeedSequence([self._search.seed, individual.id]).generate_state(1)[0]) % _SEEDS
        networks = self._networks
        arguments = {"seed": seed, "save": str(networks.path(individual)), "save_above": networks.threshold}
        thresholds = self._rules.thresholds() if self._rules is not None else ()
        checkpoint = str(networks.checkpoint(individual))
        arguments |= accepted(self._search.evaluate, thresholds=thresholds, checkpoint=checkpoint)
        start_s = START_S if self._search.evaluate is train_and_measure else 0.0
        return EvaluationRequest(individual, arguments, self._duration.seconds, self._search.limits.seconds, start_s)

    # --- results ------------------------------------------------------------------------------------------------------

    def _sift(self, completed: Sequence[Evaluation], now: float) -> None:
        """Record results, but hold back equal failures that follow each other: they may be the site's."""
        for message in self._dispatcher.notes:
            self._note(message)
        self._dispatcher.notes.clear()
        if self._dispatcher.losses:
            self._recorder.lost(self._dispatcher.losses)
            self._dispatcher.losses.clear()
        before = len(self._same.held)
        self._record_and_tell(self._same.sift(completed), now)
        if before < _TOLD <= len(self._same.held):
            self._note(f"{self._same.describe()}; not recorded until another result arrives")
        if not self._same.is_everywhere(self._workers.slots):
            return
        failing = self._same.workers
        where = f"on {counted(len(failing), 'worker')} ({', '.join(sorted(failing)[:_TOLD])})"
        self._note(f"{self._same.describe()}; {where}")
        if self._retired < _RETIRED and self._dispatcher.retire(failing):
            self._retired += 1
            self._note(f"{counted(len(failing), 'worker')} retired; the networks are evaluated on others")
            for individual, result in self._same.forget():
                self._recorder.lost([(individual.id, result.times.get("total"))])
                self._dispatcher.submit(self._request(individual))
            return
        advice = "a problem of the site or of your code, not of the networks, which will be evaluated again"
        raise RunError(f"{self._same.describe()}; {where}; {advice}")

    def _record_and_tell(self, completed: Sequence[Evaluation], now: float) -> None:
        """Write results into the journal, then tell them: no result is lost by a crash in between."""
        if not completed:
            return
        self._recorder.completed(completed)
        for individual, result in completed:
            self._evolution.tell(individual, result)
            self._search.replayed += 1
            self._networks.tell(individual, result)
            self._counts.add(individual, result, now)
            self._forecast.add((individual, result))
            self._learn_from(individual, result)
            if (change := self._sharing.tell(result, len(self._workers))) is not None:
                self._note(change)
            self._longest_s = max(self._longest_s, result.times.get("total", 0.0))

    def _learn_from(self, individual: Individual, result: Result) -> None:
        """Learn how long evaluations take and what networks reach at rungs."""
        self._duration.tell(result)
        if self._rules is not None:
            self._rules.tell(result, is_initial=individual.origin == "seeded")

    def _replay(self) -> None:
        """Read the journal: tell evolution what it does not know yet, and find what was in flight at the end."""
        in_flight: dict[int, Individual] = {}
        for number, (individual, result) in enumerate(self._recorder.history()):
            is_new = number >= self._search.replayed
            if unknown := individual.genome.unknown_kinds:
                kinds = " ".join(unknown)
                why = "was written with gene kinds whose modules are not imported; if you trust them, the same command"
                raise RunError(f"{self._search.path}: network {individual.id} {why} with {own_code.OPTION} {kinds}")
            if result is None:
                in_flight[individual.id] = individual
                if is_new:
                    self._evolution.recall(individual)
            elif in_flight.pop(individual.id, None) is None:  # a migrant: it was not asked for on this island
                if is_new and self._migration is not None:
                    self._migration.add_migrant(individual, result)
            else:
                self._networks.recall(individual, result)
                self._counts.add(individual, result)
                self._forecast.add((individual, result))
                self._learn_from(individual, result)
                self._same.recall(result)
                if is_new:
                    self._evolution.tell(individual, result)
            self._search.replayed = max(self._search.replayed, number + 1)
        self._to_resume.extend(in_flight.values())
        self._networks.sweep(self._to_resume)

    # --- once a second ------------------------------------------------------------------------------------------------

    def _check(self, now: float) -> None:
        """Once a second, count the workers and look for requests to stop, other islands and stuck evaluations."""
        if now - self._checked_at < _CHECK_S:
            return
        self._checked_at = now
        self._recorder.check()
        self.stopped = self.stopped or stop_request.reason(self._search.path)
        message = self._workers.update(self._dispatcher.worker_threads(), now)
        self._counts.workers, self._counts.no_workers_since = len(self._workers), self._workers.none_since
        present = len(self._workers), self._workers.slots, self._workers.nodes
        if present != self._present:
            self._present = present
            self._recorder.present(*present)
        if message is not None:
            self._note(message, logging.INFO if self._workers else logging.WARNING)
        self._exchange(now)
        self._sift(self._dispatcher.give_up_overdue(now), now)
        self._look_ahead(now)

    def _look_ahead(self, now: float) -> None:
        """Record what the search is expected to cost, once that can be said; an island sees only a part of it."""
        if self._search.island is not None:
            return
        made = self._forecast.due(
            self._search.problem, self._search.space, workers=self._workers.slots, evaluations=self._counts.asked,
            hours=self._hours, spent_s=self._spent_s + now - self._counts.started,
        )  # fmt: skip
        if made is not None:
            self._recorder.forecast(made.to_dict())

    def _exchange(self, now: float) -> None:
        """Exchange status and networks with the other islands, if there are any."""
        if self._migration is not None:
            self._search.replayed += self._migration.exchange(self._counts, self._unrecorded, now)

    # --- the budget and the end ---------------------------------------------------------------------------------------

    def _remaining(self) -> int:
        """Return how many more evaluations the budget allows."""
        now = time.monotonic()
        if self._is_ending(now):
            return 0
        if self._counts.asked is None:
            return _BATCH
        claimed = self._migration.claimed(now) if self._migration is not None else 0
        return max(0, self._counts.asked - self._counts.done - self._unrecorded - claimed)

    @property
    def _unrecorded(self) -> int:
        """Number of networks that were asked for here and have no result in the journal."""
        return len(self._dispatcher) + len(self._same.held)

    def _is_ending(self, now: float) -> bool:
        return self.stopped is not None or (self._counts.deadline is not None and now >= self._counts.deadline)

    def _waits_for_islands(self) -> bool:
        """Return whether the rest of the budget is in flight on other islands, which may lose it."""
        if self._migration is None or self._counts.asked is None or self._is_ending(time.monotonic()):
            return False
        return self._remaining() == 0 and self._counts.done + self._counts.elsewhere < self._counts.asked

    def _wind_down(self, now: float) -> None:
        """Cancel what no worker has begun, and wait for the rest, but no longer than it may take."""
        if self._patience_ends is None:
            patience = min(self._search.limits.seconds, _PATIENCE * self._longest_s or self._search.limits.seconds)
            self._patience_ends = now + patience
            left = self._dispatcher.cancel_unstarted()
            waits = f"waiting for {counted(len(self._dispatcher), 'evaluation')}, at most {duration(patience)}"
            rest = f"; {left} that no worker had begun: left to the next start" if left else ""
            self._note(f"{self.stopped or 'the time is up'}: {waits}{rest}")
        elif now >= self._patience_ends and self._dispatcher:
            count = counted(len(self._dispatcher), "evaluation")
            self._dispatcher.close()
            self._note(f"{count} did not end in time: left to the next start")

    def _note(self, message: str, level: int = logging.INFO) -> None:
        """Write a message into the log and the journal."""
        logger.log(level, "%s", message)
        self._recorder.note(message)
