"""The content of a report, read from a run. Runs on the driver."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menndl_dask.genome.individual import Evaluation
from menndl_dask.objective import FITNESS, Objectives
from menndl_dask.problem import Problem
from menndl_dask.report.conclusion import alike_title, conclude, simple_text
from menndl_dask.report.contenders import Ranking, rankings, search_cost
from menndl_dask.report.headline import OnTest, headline, on_test
from menndl_dask.report.pictures.split_results import SplitResults, read_split_results
from menndl_dask.report.table import Row
from menndl_dask.run.forecast.actual import forecast_beside_actual
from menndl_dask.run.layout import folders_of, name_of
from menndl_dask.run.recorder import Compared
from menndl_dask.run.run import Run
from menndl_dask.run.settings import installed_versions
from menndl_dask.run.usage.usage import Usage
from menndl_dask.text import TextTable, metric_title


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Content of a report. All times are in seconds since the epoch."""

    evaluations: Sequence[Evaluation]  # in order of completion
    problem: Problem | None = None  # None for a user's `evaluate`: the report has no shapes and no constant predictor
    title: str = "Search"
    compared: Sequence[Row] = ()  # networks retrained with equal budgets: the best ones and the standard one
    compared_title: str = ""
    conclusion: str = ""  # how the best of them compares with the standard one
    beside: str = ""  # what predictors that are no networks reach on the test split
    rankings: Sequence[Ranking] = ()  # networks trained with several seeds, by ``menndl compare``; one for each budget
    headline: str = "not tested yet"  # how the network of the search compares with the standard one on the test split
    on_test: OnTest | None = None  # the two networks of the headline
    search_cost: str = ""  # how long workers have searched
    split_results: SplitResults | None = None  # of the test split: pictures of samples, and scores by class
    finals: Sequence[Compared] = ()  # networks trained for use, on the training and the validation split
    standard: Row | None = None  # the standard network, trained with the budget of the search
    notes: Sequence[Mapping[str, Any]] = ()  # events, each with ``message`` and ``time``
    completed_at: Mapping[int, float] = field(default_factory=dict)  # time of completion by number of the individual
    asked: int | None = None  # number of evaluations that the user asked for; None if only a time was given
    command: str = ""  # how to reproduce the run, with the seed and the versions
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    written: float = 0.0  # time at which the page is written
    plan: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # planned values, each with its reason
    saved: Mapping[int, str] = field(default_factory=dict)  # paths of trained networks by number of the individual
    migrations: Mapping[int, int] = field(default_factory=dict)  # number of migrants that each island received
    usage: Usage | None = None  # of the workers
    forecast: TextTable | None = None  # what the search was expected to cost, beside what it did cost

    @property
    def metric(self) -> str:
        """Name of the fitness metric."""
        return metric_title(self.problem.metric_name) if self.problem is not None else "fitness"

    @property
    def fitness_title(self) -> str:
        """What the fitness is, and on which split it was measured."""
        return f"validation {self.metric}" if self.problem is not None else "fitness"

    @property
    def constant(self) -> float | None:
        """Fitness of the best constant predictor; None if unknown."""
        return self.problem.facts.constant_fitness if self.problem is not None else None

    @property
    def best(self) -> Evaluation | None:
        """The fittest individual that keeps the constraints, if any does, and its result; None without a success."""
        limits = Objectives.of((FITNESS,), self.problem.constraints if self.problem is not None else ())
        known = (pair for pair in self.evaluations if pair[1].succeeded)
        return min(known, key=lambda pair: limits.order(pair[1]), default=None)

    @property
    def per_hour(self) -> float | None:
        """Evaluations per hour from the first start to the last result; None if times are unknown."""
        timed = [(self.completed_at[i.id], r) for i, r in self.evaluations if i.id in self.completed_at]
        ends = [end for end, _ in timed]
        starts = [end - result.times.get("total", 0.0) for end, result in timed]
        seconds = max(ends) - min(starts) if ends else 0.0
        return 3600.0 * len(ends) / seconds if seconds > 0 else None


def read_content(run: Run) -> ReportContent:
    """Return the content of the report of a run."""
    settings, problem, alike, standard = run.settings, run.problem, run.alike, run.standard
    found = rankings(run)
    pair = on_test(run, found)
    return ReportContent(
        evaluations=list(iter(run.evaluations)),
        problem=problem,
        title=name_of(run.path.resolve()),
        compared=[Row.of(c.name, c.result) for c in alike],
        compared_title=alike_title(alike),
        finals=run.finals,
        split_results=read_split_results(run, found[-1] if found else None),
        rankings=found,
        headline=headline(run, pair),
        on_test=pair,
        search_cost=search_cost(run),
        standard=None if standard is None else Row.of(standard.name, standard.result),
        conclusion=conclude(alike, problem, run.path) if alike and problem is not None else "",
        beside=simple_text(run.path, problem) if problem is not None else "",
        notes=run.notes,
        completed_at=run.told_at,
        asked=settings.get("evaluations"),
        command=str(settings.get("command", "")),
        seed=settings.get("seed", None if problem is None else problem.seed),
        versions=settings.get("versions") or installed_versions(),
        written=time.time(),
        plan=settings.get("plan") or {},
        saved=saved_networks(run.path),
        usage=run.usage(),
        migrations={number: island.migrations for number, island in run.islands.items()},
        forecast=forecast_beside_actual(run),
    )


def saved_networks(run: Path) -> dict[int, str]:
    """Return the path of each trained network that a run has kept, by number; of several the longest training."""
    found: dict[int, str] = {}
    for folder in (run, *folders_of(run).values()):
        # as sorted, the network of the search comes first and the latest training last
        for path in sorted(folder.glob("networks/*/network.keras")) + sorted(folder.glob("networks/*/trained-*.keras")):
            if path.parent.name.isdecimal():
                found[int(path.parent.name)] = str(path)
    return found
