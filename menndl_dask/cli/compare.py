"""The command ``menndl compare``: a run's best networks beside standard and random ones. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import Parser, add_cluster_options, add_import_option, add_run_command
from menndl_dask.cli.search import add_commands as add_search
from menndl_dask.errors import RunError, UserError, nearest, reading
from menndl_dask.problem import Limits, Problem
from menndl_dask.search.options import STANDARD
from menndl_dask.terminal import say
from menndl_dask.validation import read

if TYPE_CHECKING:
    from menndl_dask.genome.individual import Individual
    from menndl_dask.run.run import Run
    from menndl_dask.space.space import SearchSpace

_RANDOM = "random"
_RETRAIN = 4.0  # times the budget, of a run without a comparison


def add_commands(commands: Any) -> None:
    """Add the command."""
    text = "show several runs side by side; with --with, train the networks of a run and others alike, and compare them"
    parser = add_run_command(commands, "compare", _compare, text)
    parser.add_argument("more", nargs="*", type=Path, metavar="RUN", help="further runs")
    text = f"{STANDARD}, names of published networks such as resnet18, or {_RANDOM} for random search of the same cost"
    parser.add_argument("--with", dest="others", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each network (default: 3)")
    text = "budgets, in multiples of that of the search (default: 1 and that of the run's own comparison)"
    parser.add_argument("--retrain", type=float, nargs="+", metavar="X", help=text)
    text = "how many networks of the search, and of random search (default: 2)"
    parser.add_argument("--finalists", type=int, default=2, metavar="N", help=text)
    text = "the data set, where it is not that of your own command (default: as the run says)"
    parser.add_argument("--data", metavar="STORE", help=text)
    add_cluster_options(parser)
    add_import_option(parser)


def _compare(given: argparse.Namespace) -> int:
    from menndl_dask import workflow
    from menndl_dask.cli import trust
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.report.runs_table import compare_runs
    from menndl_dask.run.journal import check_free
    from menndl_dask.run.run import Run

    if bool(given.others) == bool(given.more):
        got = "both" if given.others else "neither"
        raise UserError(f"compare: expected further runs, or --with and names of networks, got {got}")
    if given.more:
        say(*compare_runs([Run(path) for path in (given.run, *given.more)]))
        return 0
    for name in ("seeds", "retrain", "finalists"):
        value = getattr(given, name)
        for each in [] if value is None else value if isinstance(value, list) else [value]:
            if each <= 0:
                raise UserError(f"--{name}: expected a number > 0, got {each}")
    run = Run(given.run)
    trust.allow(given, run)
    problem = trust.retrained_problem(run, given)
    if problem is None:
        raise RunError(f"{run.path}: expected a run on a data set, got one with an `evaluate` of its own")
    others = [named for name in dict.fromkeys(given.others) if name != _RANDOM for named in _networks(name, problem)]
    random = _space_of(run, problem) if _RANDOM in given.others else None
    factor = given.retrain or [1.0, next((c.factor for c in run.alike), _RETRAIN)]
    run.best()  # before workers are started
    check_free(run.path)
    trust.check_data(problem, given)
    limits = read(Limits, run.settings.get("limits") or {}, f"{run.path}: limits", RunError)
    loaded = load_cluster(given.cluster, workers=given.workers, backend=problem.budget.backend)
    with loaded as cluster, cluster.client() as client:
        workflow.compare_with(
            run, client, others, factor=factor, finalists=given.finalists, seeds=given.seeds, limits=limits,
            problem=problem, random=random,
        )  # fmt: skip
    workflow.report(run)
    return 0


def _networks(name: str, problem: Problem) -> list[tuple[str, Individual]]:
    """Return the standard network of a name, as a contender."""
    from menndl_dask.genome.individual import Individual
    from menndl_dask.run.recorder import STANDARD_ID
    from menndl_dask.space.standard.standard import named_network, standard_network, standard_networks

    known = standard_networks(problem)
    if name not in (STANDARD, *known):
        expected = ", ".join([STANDARD, _RANDOM, *known])
        raise UserError(f"--with: expected {expected}, got {name!r}{nearest(name, [STANDARD, _RANDOM, *known])}")
    title, genome = standard_network(problem) if name == STANDARD else named_network(name, problem)
    return [(title, Individual(STANDARD_ID, genome, (), "standard"))]


def _space_of(run: Run, problem: Problem) -> SearchSpace:
    """Return the space of a run of ``menndl search``, from its command and its plan."""
    from menndl_dask.run.settings import FILE, read_settings
    from menndl_dask.search.plan.frozen_plan import frozen_values
    from menndl_dask.search.plan.plan import Plan
    from menndl_dask.space.space import SearchSpace

    path = run.path / FILE
    words = [str(word) for word in run.settings.get("arguments") or ()]
    if not words or words[0] != "search":
        command = run.settings.get("command") or "a script"
        advice = "in Python: menndl_dask.workflow.compare_with(run, client, …, random=space)"
        raise RunError(f"{path}: the search space of a run that was begun by {command!r} is not known; {advice}")
    parser = Parser("menndl")
    add_search(parser.add_subparsers())
    given = parser.parse_args(words)
    with reading(path, RunError):
        plan = Plan(problem, tuple(frozen_values(read_settings(path)).values()))
        return SearchSpace.image(problem, training=given.training, maximum=given.max_layers, **plan.space)
