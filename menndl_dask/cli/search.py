"""The commands ``menndl search | resume | report``. Runs on the driver."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import Parser, add_command, add_import_option, add_run_command
from menndl_dask.cli.performance.table import add_performance_options, tell_performance
from menndl_dask.cli.problem import add_problem_options
from menndl_dask.errors import RunError, reading
from menndl_dask.search.options import Options, add_options

if TYPE_CHECKING:
    pass


def add_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    parser = add_command(commands, "search", search, "evolve a network for a data set; the same command resumes")
    add_problem_options(parser)
    group = parser.add_argument_group("search space")
    group.add_argument("--max-layers", type=int, metavar="N", help="layers of a network, the head not counted")
    group.add_argument("--training", action="store_true", help="evolve optimiser, learning rate and batch size too")
    add_options(parser, planned=True, run=None)
    add_import_option(parser)
    parser = add_run_command(commands, "resume", _resume, "resume a run of menndl search with its options")
    parser.add_argument("--evaluations", metavar="N", help="networks to evaluate, those done included")
    parser.add_argument("--hours", metavar="H", help="other hours to search")
    parser.add_argument("--cluster", metavar="PROFILE", help="another cluster profile")
    parser.add_argument("--workers", metavar="N", help="another number of workers")
    add_import_option(parser)
    text = "write the report of a run, running or not, and show its table"
    parser = add_run_command(commands, "report", _report, text)
    parser.add_argument("--output", type=Path, metavar="FILE", help="another file than report.html of the run")
    add_performance_options(parser)


def search(given: argparse.Namespace, words: Sequence[str] | None = None) -> int:
    """Search; `words` are those of the command if they are not the ones that the user typed."""
    from menndl_dask import workflow
    from menndl_dask.cli import trust
    from menndl_dask.cli.planning import new_plan, open_planned, resumed_plan, run_path
    from menndl_dask.cluster.profile import read_profile
    from menndl_dask.run.journal import check_free
    from menndl_dask.run.run import Run
    from menndl_dask.run.settings import FILE, read_settings
    from menndl_dask.space.space import SearchSpace

    given.run = run_path(given)
    typed = list(sys.argv) if words is None else ["menndl", *words]
    trust.allow(given, Run(given.run) if (given.run / FILE).exists() else None)
    options = Options.read(given)
    profile = read_profile(options.cluster)  # a mistake in it is told before the data is read
    settings = options.run / FILE
    if settings.exists() and (frozen := read_settings(settings)).get("problem") is not None:
        with reading(settings, RunError):
            plan = resumed_plan(given, options.budget, profile, frozen, typed[1:])
            plan.text()  # values that are not of their kind cannot be shown
    else:
        check_free(given.run)  # before a trial of the plan
        problem = open_planned(given, options.budget)
        plan = new_plan(given, problem, profile, trial=True)
    space = SearchSpace.image(plan.problem, training=given.training, maximum=given.max_layers, **plan.space)
    return workflow.main_job(plan.problem, space, options.following(plan), arguments=typed)


def _resume(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.run.layout import whole_run
    from menndl_dask.run.run import Run
    from menndl_dask.run.settings import FILE

    run = Run(given.run)
    with reading(run.path / FILE, RunError):
        words = trust.signed_words(given.run, run, given)
    words += ["--run", str(whole_run(given.run))]  # the last one counts
    parser = Parser("menndl")
    add_commands(parser.add_subparsers())
    return search(parser.parse_args(words), words)


def _report(given: argparse.Namespace) -> int:
    from menndl_dask import workflow
    from menndl_dask.run.run import Run

    run = Run(given.run)
    workflow.report(run, given.output)
    tell_performance(run, given)
    return 0
