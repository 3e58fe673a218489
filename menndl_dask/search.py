"""The search: keeps the workers busy with what evolution proposes, until the budget is spent. Runs on the driver.

The loop knows no genetics: it asks, submits, waits for whatever is first home, writes that into the journal and only
then tells it. Everything it needs to carry on after a crash is in the run's directory.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from menndl_dask import stop
from menndl_dask.errors import RunError, UserError
from menndl_dask.evaluation import evaluate as train_and_measure
from menndl_dask.evolution import DRAWN, Evolution, Optimizer, SpaceExhausted
from menndl_dask.flight import Flight
from menndl_dask.forecast import Forecast
from menndl_dask.garbage import settled
from menndl_dask.genome import Genome
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.island import first_number, folder_of
from menndl_dask.migration import Migration, settle, settler
from menndl_dask.network import Networks
from menndl_dask.objective import objectives_of
from menndl_dask.pace import Pace
from menndl_dask.parcel import Evaluate, Task
from menndl_dask.problem import Limits, Problem
from menndl_dask.progress import Progress, Tally
from menndl_dask.result import Result
from menndl_dask.rung import Rungs
from menndl_dask.settings import frozen_settings
from menndl_dask.space import SearchSpace
from menndl_dask.store import Recorder, Run
from menndl_dask.words import counted, duration, stopped_by
from menndl_dask.workforce import Workforce

_TICK_S = 1.0  # how often workers are counted and the clock is read, results or not
_SEEDS = 2**31  # what frameworks take
_CHUNK = 16  # networks bred before they are submitted
_PATIENCE = 1.5  # times the longest evaluation that the last ones are waited for when the time is up
_STALL_MARGIN_S = 60.0  # beyond the evaluations' own limit before workers that stay silent are given up

logger = logging.getLogger(__name__)


class Search:
    """A search for the best network for a problem, kept in a run directory.

    Parameters
    ----------
    problem
        What the networks are for; nothing if `evaluate` needs none.
    space
        Which networks there are.
    run
        The run directory. If a search has begun there, this one carries it on.
    evolution
        What proposes networks and learns from results; by default `Evolution` with the problem's objectives.
    initial, random
        Networks that the default evolution begins with, and how many in all it asks for before it breeds.
    seed
        Of everything random in the search and in each evaluation.
    limits
        What one evaluation may use.
    evaluate
        Called on a worker as ``evaluate(individual, problem, limits, seed=…, save=…, save_above=…)``, and with ``bars``
        and ``checkpoint`` if it takes them; returns a `Result`. By default `menndl_dask.evaluate`, which trains the
        network. Workers must be able to import it.
    settings
        What else is worth recording in ``run.yaml``, such as the ``command``.
    island
        Number of this search among those that share the run, each with a driver and workers of its own; nothing for
        a search without others.
    """

    def __init__(
        self,
        problem: Problem | None,
        space: SearchSpace,
        run: str | Path = "runs/search",
        *,
        evolution: Optimizer | None = None,
        initial: Iterable[Genome] = (),
        random: int = DRAWN,
        seed: int = 0,
        limits: Limits = Limits(),
        evaluate: Evaluate = train_and_measure,
        settings: Mapping[str, Any] | None = None,
        island: int | None = None,
    ) -> None:
        self.problem = problem
        self.space = space
        self.island = island
        self.whole = Path(run)
        self.path = self.whole if island is None else folder_of(self.whole, island)
        self.seed = seed
        self.limits = limits
        self.evaluate = evaluate
        objectives = problem.objectives if problem is not None else ("fitness",)
        first = first_number(island or 0)
        given = () if island else initial  # the first island tells the others
        self.evolution: Optimizer = evolution or Evolution(
            space, seed=seed, objectives=objectives, initial=given, random=random, first=first
        )
        self.settings = dict(settings or {})
        self.stopped: str | None = None  # why the last run ended before its budget was spent
        self.heard = 0  # entries of the run's history that evolution knows

    def run(
        self,
        client: Client,
        *,
        evaluations: int | None = None,
        hours: float | None = None,
        progress: Progress | None = None,
        on_change: Callable[[Run], object] | None = None,
    ) -> Run:
        """Search until so many evaluations or hours are spent, those of earlier starts included; return the run.

        Parameters
        ----------
        client
            Of the cluster whose workers evaluate. Workers may come and go at any time.
        evaluations, hours
            The budget: whichever ends first; at least one is needed. Islands share the evaluations; the hours are
            those of this search.
        progress
            Shows how far it is.
        on_change
            Called with the run after news, such as to rewrite its report; as seldom as it takes to cost little.

        Raises
        ------
        UserError
            If there is no budget.
        RunError
            If another driver holds the run, the run is for another search or damaged, or the scheduler is lost.
            Whatever has come home by then is kept.
        """
        if evaluations is None and hours is None:
            raise UserError("search: expected evaluations or hours (or both), got neither")
        settings = frozen_settings(self.problem, self.space, self.seed, self.limits, self.settings)
        settle(self.whole, self.island, settings)
        with Recorder(self.path) as recorder:
            stop.begin(self.path)
            recorder.freeze(settings)
            if self.problem is not None and self.problem.facts.fingerprint:
                from menndl_dask.data import splits

                recorder.keep_splits(splits(self.problem))
            started = {"evaluations": evaluations, "hours": hours, **self.settings}
            drive = _Drive(self, client, recorder, evaluations, hours)
            with settled():
                drive.run(started, progress, on_change)
            self.stopped = drive.stopped
        run = Run(self.path)
        run.write_snapshot()
        return run


class _Drive:
    """One driver's part of a search, from its start to its end."""

    def __init__(
        self, search: Search, client: Client, recorder: Recorder, evaluations: int | None, hours: float | None
    ) -> None:
        self._search = search
        self._evolution = search.evolution
        self._recorder = recorder
        self._networks = Networks((search.path / "networks").resolve())
        evolution, problem = search.evolution, search.problem
        self._workforce = Workforce()
        self._flight = Flight(client, search.evaluate, (search.problem, search.limits))
        self._forecast = Forecast(search.limits.seconds)
        self._rungs = None if problem is None else Rungs(problem.budget, objectives_of(evolution, problem.objectives))
        now = time.monotonic()
        deadline = None if hours is None else now + max(0.0, 3600.0 * hours - recorder.seconds_spent())
        self._tally = Tally(now, evaluations, deadline)
        self._again: deque[Individual] = deque()
        self._exhausted = False
        self._ticked = -_TICK_S
        self._last_arrival = now
        self._longest = 0.0
        self._patience_ends: float | None = None
        self.stopped: str | None = None  # why the search ends before its budget is spent
        self._migration: Migration | None = None
        if search.island is not None:
            evolution = settler(search.evolution, search.island)
            self._migration = Migration(search.whole, search.island, evolution, recorder)

    def run(
        self, started: Mapping[str, Any], progress: Progress | None, on_change: Callable[[Run], object] | None
    ) -> None:
        self._recall()
        self._exchange(time.monotonic())
        if self._remaining() == 0:
            return
        self._recorder.started(**started)
        if self._tally.done or self._again:
            again = f"; {counted(len(self._again), 'network')} in flight then: submitted again" if self._again else ""
            self._note(f"carried on after {counted(self._tally.done, 'evaluation')}{again}")
        report = Pace(on_change, self._search.path)
        try:
            self._loop(progress, report)
        except RunError as error:
            safe = f"what came home is safe in {self._search.path}, the same command carries on"
            raise RunError(f"{error}; {safe}") from error
        except KeyboardInterrupt as end:
            self._note(stopped_by(end))
            raise
        finally:
            self._flight.close()
            if self._migration is not None:
                self._migration.leave(self._tally, time.monotonic())
            self._recorder.ended()
            if progress is not None:
                progress.close(self._tally, time.monotonic())

    def _loop(self, progress: Progress | None, report: Pace) -> None:
        self._tick(time.monotonic())
        self._top_up()
        while self._flight or self._waits_for_others():
            while not self._flight.has_arrivals and self._prepares():
                pass
            home = self._flight.arrivals(self._wait_s())
            now = time.monotonic()
            self._take(home, now)
            self._tick(now)
            if self._is_late(now):
                self._wind_down(now)
            else:
                self._top_up()
            if progress is not None:
                progress.show(self._tally, now)
            if home:
                report(now)
        self._conclude()

    def _prepares(self) -> bool:
        """Let evolution compute a part of what coming networks need, if there are any; return whether it did."""
        return self._remaining() > 0 and bool(getattr(self._evolution, "prepare", lambda: False)())

    def _recall(self) -> None:
        """Put evolution, the kept networks and the tally back to where the journal ends."""
        in_flight: dict[int, Individual] = {}
        for number, (individual, result) in enumerate(self._recorder.history()):
            is_news = number >= self._search.heard
            if result is None:
                in_flight[individual.id] = individual
                if is_news:
                    self._evolution.recall(individual)
            elif in_flight.pop(individual.id, None) is None:
                if is_news and self._migration is not None:
                    self._migration.welcome(individual, result)
            else:
                self._networks.recall(individual, result)
                self._tally.add(individual, result)
                self._learn(result)
                if is_news:
                    self._evolution.tell(individual, result)
            self._search.heard = max(self._search.heard, number + 1)
        self._again.extend(in_flight.values())
        self._networks.sweep(self._again)

    def _remaining(self) -> int:
        """Return how many more evaluations may be submitted now."""
        now = time.monotonic()
        if self._is_late(now):
            return 0
        if self._tally.asked is None:
            return _CHUNK
        claimed = self._migration.claimed(now) if self._migration is not None else 0
        return max(0, self._tally.asked - self._tally.done - len(self._flight) - claimed)

    def _waits_for_others(self) -> bool:
        """Return whether all that is left of the budget is in flight on other islands, which may lose it."""
        if self._migration is None or self._tally.asked is None or self._is_late(time.monotonic()):
            return False
        return self._remaining() == 0 and self._tally.done + self._tally.elsewhere < self._tally.asked

    def _free(self) -> int:
        """Return how many more evaluations the workers need now."""
        return self._workforce.outstanding(self._flight.submitted) - len(self._flight)

    def _is_late(self, now: float) -> bool:
        return self.stopped is not None or (self._tally.deadline is not None and now >= self._tally.deadline)

    def _wait_s(self) -> float:
        if self._tally.deadline is None or self._patience_ends is not None:
            return _TICK_S
        return min(_TICK_S, max(0.0, self._tally.deadline - time.monotonic()))

    def _take(self, home: Sequence[Evaluation], now: float) -> None:
        """Write results down, then tell them."""
        for message in self._flight.notes:
            self._note(message)
        self._flight.notes.clear()
        if not home:
            return
        self._recorder.told(home)
        for individual, result in home:
            self._evolution.tell(individual, result)
            self._search.heard += 1
            self._networks.tell(individual, result)
            self._tally.add(individual, result, now)
            self._learn(result)
            self._longest = max(self._longest, result.times.get("total", 0.0))
        self._last_arrival = now

    def _learn(self, result: Result) -> None:
        """Learn from a result what the next evaluations must reach, and what they take."""
        self._forecast.tell(result)
        if self._rungs is not None:
            self._rungs.tell(result)

    def _tick(self, now: float) -> None:
        """Count the workers every second, and look for workers that are silent."""
        if now - self._ticked < _TICK_S:
            return
        self._ticked = now
        self.stopped = self.stopped or stop.reason(self._search.path)
        message = self._workforce.update(self._flight.threads(), now)
        self._tally.workers = len(self._workforce)
        if message is not None:
            self._note(message)
        self._exchange(now)
        if not self._flight or not self._workforce:
            self._last_arrival = now
        silence = now - self._last_arrival
        if silence > _PATIENCE * self._search.limits.seconds + _STALL_MARGIN_S:
            given_up = self._flight.give_up()
            told = f"no answer from its worker for {duration(silence)}"
            self._take([(individual, Result.failed("timed_out", told)) for individual in given_up], now)
            done = f"gave up {counted(len(given_up), 'evaluation')} and restarted their workers"
            self._note(f"no result for {duration(silence)}: {done}")
            self._last_arrival = now

    def _exchange(self, now: float) -> None:
        if self._migration is not None:
            self._search.heard += self._migration.exchange(self._tally, len(self._flight), now)

    def _top_up(self) -> None:
        """Submit as many evaluations as the workers need, those of an earlier start first."""
        while (count := min(_CHUNK, self._free(), self._remaining())) > 0:
            individuals = [self._again.popleft() for _ in range(min(count, len(self._again)))]
            individuals += self._asked(count - len(individuals))
            if not individuals:
                return
            self._flight.submit([self._task(individual) for individual in individuals])

    def _asked(self, count: int) -> list[Individual]:
        asked: list[Individual] = []
        while len(asked) < count and not self._exhausted:
            try:
                asked.append(self._evolution.ask())
            except SpaceExhausted as end:
                self._exhausted = True
                self._note(str(end))
        if asked:
            self._recorder.asked(asked)
            self._search.heard += len(asked)
        return asked

    def _task(self, individual: Individual) -> Task:
        seed = int(np.random.SeedSequence([self._search.seed, individual.id]).generate_state(1)[0]) % _SEEDS
        networks = self._networks
        arguments = {"seed": seed, "save": str(networks.path(individual)), "save_above": networks.threshold}
        bars = self._rungs.bars() if self._rungs is not None else ()
        arguments |= self._flight.accepted(bars=bars, checkpoint=str(networks.checkpoint(individual)))
        return Task(individual, arguments, self._forecast.seconds)

    def _wind_down(self, now: float) -> None:
        """Let what has begun come home now that the time is up, but do not wait for longer than it may take."""
        if self._patience_ends is None:
            patience = min(self._search.limits.seconds, _PATIENCE * self._longest or self._search.limits.seconds)
            self._patience_ends = now + patience
            left = len(self._flight.ground())
            waits = f"waiting for {counted(len(self._flight), 'evaluation')}, at most {duration(patience)}"
            rest = f"; {left} that no worker had begun: left to the next start" if left else ""
            self._note(f"{self.stopped or 'the time is up'}: {waits}{rest}")
        elif now >= self._patience_ends and self._flight:
            count = len(self._flight)
            self._flight.close()
            self._note(f"{counted(count, 'evaluation')} did not come home in time: left to the next start")

    def _conclude(self) -> None:
        diagnosis = getattr(self._evolution, "diagnosis", lambda: None)()
        if diagnosis:
            self._note(diagnosis)

    def _note(self, message: str) -> None:
        logger.info(message)
        self._recorder.note(message)
