"""A search for the best network, kept in a run directory. Runs on the driver.

`Search` says what is searched for and how; `menndl_dask.search.driver` has the loop.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from distributed import Client

from menndl_dask.errors import UserError, shortened
from menndl_dask.evaluation.evaluation import evaluate as train_and_measure
from menndl_dask.evolution.evolution import DRAWN, Evolution, Optimizer
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Limits, Problem
from menndl_dask.run import stop_request
from menndl_dask.run.layout import first_number, folder_of
from menndl_dask.run.progress import Progress
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE, frozen_settings
from menndl_dask.run.signature import Signed
from menndl_dask.search.driver import Driver
from menndl_dask.search.forecast.live import LiveForecast
from menndl_dask.search.initial_networks import KEY, recorded, to_record
from menndl_dask.search.islands.migration import prepare_run
from menndl_dask.search.own_kinds import let_workers_find, own_names
from menndl_dask.search.remote_evaluation import Evaluate
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.widening import Given, widened
from menndl_dask.text import duration, html_summary

logger = logging.getLogger(__name__)


class Search:
    """A search for the best network for a problem, kept in a run directory.

    Parameters
    ----------
    problem
        What the networks are for. None if `evaluate` needs no problem.
    space
        The networks to choose from.
    run
        The run directory. If it holds a search already, that search is carried on.
    evolution
        Proposes networks and learns from results. By default `Evolution` with the problem's objectives.
    initial, random
        Networks that the default evolution begins with, and the number of networks, these included, that it asks for
        before it breeds. The space is widened for networks that are not in it. A search that is carried on has those
        that it began with.
    seed
        Random seed of the search and of each evaluation.
    limits
        Limits of one evaluation.
    evaluate
        Called on a worker as ``evaluate(individual, problem, limits, seed=…, save=…, save_above=…)``, and with
        ``thresholds`` and ``checkpoint`` if it takes them; returns a `Result`. By default `menndl_dask.evaluate`, which
        trains the network. Workers and the scheduler must be able to import it.
    settings
        Further settings to record in ``run.yaml``, such as the ``command``.
    island
        Number of this search among those that share the run, each with a driver and workers of its own. None for a
        search without islands.

    Attributes
    ----------
    path
        The directory of this search: of its island, if it is one.
    whole
        The directory of the run with all islands.
    stopped
        Why the last `run` ended before its budget was spent. None if it did not.
    replayed
        Number of entries of the run's history that evolution knows.
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
        if problem is not None and not isinstance(problem, Problem):
            raise UserError(f"problem: expected a Problem, as open_problem returns it, got {problem!r}")
        if not isinstance(space, SearchSpace):
            raise UserError(f"space: expected a SearchSpace, such as SearchSpace.image(problem), got {space!r}")
        _demand("seed", "an integer ≥ 0", seed, _is_count(seed))
        _demand("random", "an integer ≥ 0", random, _is_count(random))
        _demand("island", "an integer ≥ 0, or None", island, island is None or _is_count(island))
        _demand("limits", "Limits, such as Limits(seconds=600)", limits, isinstance(limits, Limits))
        _demand("evaluate", "a function", evaluate, callable(evaluate))
        _demand("run", "a directory", run, isinstance(run, (str, Path)) and str(run) != "")
        self.problem = problem
        self.space = space
        self.island = island
        self.whole = Path(run)
        self.path = self.whole if island is None else folder_of(self.whole, island)
        self.seed = seed
        self.limits = limits
        self.evaluate = evaluate
        objectives, constraints = (("fitness",), ()) if problem is None else (problem.objectives, problem.constraints)
        first = first_number(island or 0)
        _demand("settings", "a dict or None", settings, isinstance(settings, (Mapping, NoneType)))
        self.settings = dict(settings or {})
        is_list = isinstance(initial, Iterable) and not isinstance(initial, (str, Genome))
        _demand("initial", "a list of genomes, models or paths", initial, is_list)
        if evolution is None:
            given = self._widen_for(list(initial))
            # the others get them from the first island
            seeds = () if island else [each.genome for each in given]
            evolution = Evolution(
                self.space, seed=seed, objectives=objectives, constraints=constraints, initial=seeds, random=random,
                first=first,
            )  # fmt: skip
        else:
            _demand("initial", "none beside an evolution of your own, which takes them", initial, not [*initial])
            self.space = evolution.space if isinstance(evolution, Evolution) else space
        self.evolution: Optimizer = evolution
        self.stopped: str | None = None
        self.replayed = 0

    def __repr__(self) -> str:
        return f"Search({None if self.problem is None else self.problem.data!r}, run={str(self.path)!r})"

    def _repr_html_(self) -> str:
        state = "has begun; run carries it on" if (self.path / FILE).exists() else "has not begun; run starts it"
        data = "an evaluation function of your own" if self.problem is None else self.problem.data
        rows = [("data", data), ("run", str(self.path)), ("state", state), ("seed", str(self.seed))]
        return html_summary("Search", [*rows, ("limit", f"{duration(self.limits.seconds)} for an evaluation")])

    def _widen_for(self, initial: Sequence[Genome]) -> list[Given]:
        """Widen the space for the networks to begin with, those that the run has recorded first, and record them."""
        for genome in initial:
            _demand("initial", "genomes", genome, isinstance(genome, Genome))
        known = recorded(self.whole) or {}
        named = [(name, genome) for name, genomes in known.items() for genome in genomes]
        named += [(f"initial network {i}", genome) for i, genome in enumerate(initial)]
        given = {genome.key: Given(name, genome) for name, genome in reversed(named)}
        found = widened(self.space, reversed(given.values()))
        for line in found.lines:
            logger.warning("%s", line)
        self.space = found.space
        kept = [replace(each, genome=g) for each, g in zip(reversed(given.values()), found.genomes, strict=True)]
        if kept:
            self.settings.setdefault(KEY, to_record(kept))
        return kept

    def run(
        self,
        client: Client,
        *,
        evaluations: int | None = None,
        hours: float | None = None,
        wait_minutes: float | None = None,
        progress: Progress | None = None,
        on_change: Callable[[Run], object] | None = None,
        forecast: LiveForecast | None = None,
    ) -> Run:
        """Search until the budget is spent, and return the run.

        Parameters
        ----------
        client
            Client of the cluster that evaluates. Workers may come and go at any time.
        evaluations, hours
            The budget, earlier starts included: the search ends at whichever is reached first. At least one is needed.
            Islands share the evaluations; the hours are those of this search.
        wait_minutes
            Minutes without any worker after which the search ends; None for no end.
        progress
            Shows the progress.
        on_change
            Called with the run after new results, for example to rewrite its report. Calls are spaced so that they take
            a small share of the time.
        forecast
            Tells what the search is expected to cost; by default it is only recorded, from the first results.

        Raises
        ------
        UserError
            If there is no budget.
        RunError
            If another driver holds the run, the run is damaged or of another search, the scheduler is lost or no
            worker comes, or if evaluations fail again and again with the same error. The results so far are kept.
        """
        if evaluations is None and hours is None:
            raise UserError("search: expected evaluations or hours (or both), got neither")
        _demand("evaluations", "an integer ≥ 0, or None", evaluations, evaluations is None or _is_count(evaluations))
        for name, value in (("hours", hours), ("wait_minutes", wait_minutes)):
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
            _demand(name, "a number ≥ 0, or None", value, value is None or is_number)
        _demand("client", "a Client of Dask", client, isinstance(client, Client))
        if self.problem is not None and self.evaluate is train_and_measure:
            names = own_names(self.problem, self.space)
            let_workers_find(client, names)
            if names and "signed" not in self.settings:  # the networks of a script can be loaded without more words
                self.settings["signed"] = Signed.of((), self.problem.data, None, names).to_dict()
        settings = frozen_settings(self.problem, self.space, self.seed, self.limits, self.settings)
        prepare_run(self.whole, self.island, settings)
        with Recorder(self.path) as recorder:
            stop_request.begin(self.path)
            recorder.freeze(settings)
            if self.problem is not None and self.problem.facts.fingerprint:
                from menndl_dask.data.data import region_table, splits

                regions = region_table(self.problem) if self.problem.patches is not None else ()
                recorder.keep_splits(splits(self.problem) | ({"regions": regions} if len(regions) else {}))
            # plan and initial networks stand in run.yaml
            given = {name: value for name, value in self.settings.items() if name not in ("plan", KEY)}
            started = {"evaluations": evaluations, "hours": hours, **given}
            started |= {"host": socket.gethostname(), "dashboard": _dashboard(client)}
            wait_s = None if wait_minutes is None else 60.0 * wait_minutes
            driver = Driver(self, client, recorder, evaluations, hours, wait_s, forecast)
            driver.run(started, progress, on_change)
            self.stopped = driver.stopped
        run = Run(self.path)
        run.write_snapshot()
        return run


def _dashboard(client: Client) -> str:
    """Return the address of the dashboard of a cluster; empty if it has none."""
    try:
        return client.dashboard_link or ""
    except (AttributeError, KeyError, ValueError):  # of a cluster without one, or with a link of the user's own
        return ""


def _is_count(value: object) -> bool:
    """Return whether a value is an integer that counts something."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)


def _demand(name: str, expected: str, value: object, is_right: bool) -> None:
    if not is_right:
        raise UserError(f"{name}: expected {expected}, got {shortened(repr(value))}")
