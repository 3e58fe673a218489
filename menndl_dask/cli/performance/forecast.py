"""The command ``menndl forecast``: what a search will cost, before it is begun. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command
from menndl_dask.cli.problem import add_problem_options
from menndl_dask.problem import UNITS
from menndl_dask.search.options import add_plan_options, check_counts
from menndl_dask.terminal import say
from menndl_dask.text import counted, size


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "say what a search will cost: hours, node-hours, networks an hour, data"
    parser = add_command(commands, "forecast", _forecast, text)
    add_problem_options(parser)
    group = parser.add_argument_group("forecast")
    text = "earlier runs, whose times are taken instead of short trainings"
    group.add_argument("--from", dest="runs", nargs="+", type=Path, default=[], metavar="RUN", help=text)
    text = "networks that are trained for some seconds (default: 4 to 16, by the number of workers)"
    group.add_argument("--networks", type=int, metavar="N", help=text)
    add_plan_options(parser)


def _forecast(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.cli.planning import new_plan, open_planned
    from menndl_dask.cluster.profile import read_profile
    from menndl_dask.performance.forecast import forecast_search
    from menndl_dask.run.run import Run
    from menndl_dask.space.space import SearchSpace

    check_counts(given, *UNITS, "batch_size", "networks")
    profile = read_profile(given.cluster)
    runs = [Run(path) for path in given.runs]
    trust.allow(given)
    problem = open_planned(given)
    plan = new_plan(given, problem, profile, trial=True)
    found = forecast_search(
        plan.problem, SearchSpace.image(plan.problem, **plan.space), profile, workers=plan.value("workers"),
        evaluations=plan.value("evaluations"), hours=plan.value("hours"), retrain=given.retrain,
        finalists=given.finalists, networks=given.networks, runs=runs, seed=given.seed,
    )  # fmt: skip
    nodes = f"on each of {counted(found.nodes, 'node')}" if found.nodes > 1 else "on this machine's disk"
    said = f"by {found.basis}; {size(found.staged_bytes)} of samples are staged {nodes}"
    say(found.table(), said)
    return 0
