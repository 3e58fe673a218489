"""The command ``menndl retrain``: the best networks of a run, trained for longer. Runs on the driver."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import add_cluster_options, add_import_option, add_run_command
from menndl_dask.errors import RunError, UserError
from menndl_dask.problem import Limits, Problem
from menndl_dask.terminal import say
from menndl_dask.text import counted, fitness_text, metric_title
from menndl_dask.validation import read

if TYPE_CHECKING:
    from distributed import Client

    from menndl_dask.genome.individual import Individual
    from menndl_dask.run.recorder import Compared
    from menndl_dask.run.run import Run
    from menndl_dask.search.remote_evaluation import Evaluate

_TRAIN, _BOTH = "train", "train+validation"


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "train the best networks of a run for longer, to compare them with the standard one or to use them"
    parser = add_run_command(commands, "retrain", _retrain, text)
    text = "times the budget (default: 4); 0: only measure the best network on the test split"
    parser.add_argument("--retrain", type=float, default=4.0, metavar="X", help=text)
    text = f"how many networks (default: 2, or 1 on {_BOTH})"
    parser.add_argument("--finalists", "--top", type=int, metavar="N", help=text)
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each network (default: 1)")
    text = f"splits to train on; with {_BOTH} only the test split says how good a network is (default: {_TRAIN})"
    parser.add_argument("--on", choices=(_TRAIN, _BOTH), help=text)
    text = "the data set, where it is not that of your own command (default: as the run says)"
    parser.add_argument("--data", metavar="STORE", help=text)
    add_cluster_options(parser)
    add_import_option(parser)


def _retrain(given: argparse.Namespace) -> int:
    from menndl_dask import workflow
    from menndl_dask.cli import trust
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.run.journal import check_free
    from menndl_dask.run.run import Run

    is_final, seeds = given.on == _BOTH, 1 if given.seeds is None else given.seeds
    for name, value, least in (("finalists", given.finalists, 1), ("seeds", seeds, 1), ("retrain", given.retrain, 0)):
        if value is not None and not value >= least:
            raise UserError(f"--{name}: expected a number ≥ {least}, got {value:g}")
    if given.retrain == 0 and (is_final or seeds > 1):
        raise UserError("--retrain: expected a number > 0 with --seeds or --on, got 0")
    run = Run(given.run)
    trust.allow(given, run)
    problem = trust.retrained_problem(run, given)
    if problem is None:
        raise RunError(f"{run.path}: expected a run on a data set, got one with an `evaluate` of its own")
    count = given.finalists or (1 if is_final else 2)
    run.best()  # before workers are started
    check_free(run.path)
    trust.check_data(problem, given)
    limits = read(Limits, run.settings.get("limits") or {}, f"{run.path}: limits", RunError)
    loaded = load_cluster(given.cluster, workers=given.workers, backend=problem.budget.backend)
    with loaded as cluster, cluster.client() as client:
        if is_final or seeds > 1:
            retrain(
                run, client, problem, factor=given.retrain, count=count, seeds=seeds, limits=limits, is_final=is_final
            )
        else:
            workflow.compare(run, client, factor=given.retrain, finalists=count, limits=limits, problem=problem)
    workflow.report(run)
    return 0


def retrain(
    run: Run, client: Client, problem: Problem, *, factor: float, count: int, seeds: int, limits: Limits,
    is_final: bool, evaluate: Evaluate | None = None,
) -> None:  # fmt: skip
    """Train the best networks of a run with several seeds, record and save them, and save ``best.keras``.

    On the training split the standard network is trained too, and the validation split says which network is the best.
    If `is_final`, the validation split is trained on as well. Then ``best.keras`` is the network that the validation
    split had preferred before, with the first seed: the test split chooses nothing.

    Raises
    ------
    RunError
        If the scheduler is lost, no worker comes, or a network cannot be saved.
    """
    from menndl_dask import workflow
    from menndl_dask.evaluation.evaluation import evaluate as train_and_measure
    from menndl_dask.search import comparison
    from menndl_dask.search.own_kinds import let_workers_find

    evaluate = evaluate or train_and_measure
    directory = run.path.resolve()
    named = comparison.preferred(run, problem, count + 1)
    if is_final:
        named = named[:count]
    else:
        standard = comparison.standard_of(problem)
        keys = {individual.genome.key for _, individual in standard}
        named = [*[each for each in named if each[1].genome.key not in keys][:count], *standard]
    done = [c for c in (run.finals if is_final else run.contenders) if c.path(directory).is_file()]
    each = range(problem.seed, problem.seed + seeds)
    planned = comparison.contenders(named, factor, each, done, is_final)
    what = _BOTH if is_final else _TRAIN
    say(f"trainings on {what}: {len(planned)}; {counted(seeds, 'seed')} of each network")
    let_workers_find(client, {*problem.code, *(kind for _, one in named for kind in one.genome.kinds_of_users)})
    metric = metric_title(problem.metric_name)
    for compared in comparison.train(client, problem, planned, limits, directory, evaluate, keep=True):
        run.compare(compared)
        result, where = compared.result, "test " if is_final else ""
        score = result.metrics.get(f"test_{problem.metric_name}") if is_final else result.fitness
        outcome = result.failure or f"{where}{metric} {fitness_text(score)}"
        say(f"  {compared.name}, seed {compared.seed}: {outcome}")
    trained = [c for c in (run.finals if is_final else run.contenders) if c.factor == factor and c.seed in each]
    best = _best([c for c in trained if c.path(directory).is_file()], named, problem, is_final)
    if best is None:
        raise RunError(f"{run.path}: no network could be trained; best.keras is as it was")
    workflow.keep_best(best.path(directory), directory)
    why = "which the validation split preferred before" if is_final else "by the validation split"
    say(f"best.keras: {best.name}, seed {best.seed}, {why}")


def _best(
    trained: list[Compared], named: list[tuple[str, Individual]], problem: Problem, is_final: bool
) -> Compared | None:
    """Return the training to use: of the best network the first seed, or the one with the highest fitness."""
    from menndl_dask.report.contenders import recommended, standings

    ok = [c for c in trained if c.result.fitness is not None]
    if is_final:
        order = [individual.genome.key for _, individual in named]
        ok = [c for c in ok if c.individual.genome.key in order]
        return min(ok, key=lambda c: (order.index(c.individual.genome.key), c.seed), default=None)
    taken = recommended(standings(ok, problem)) if ok else None
    own = [c for c in ok if taken is not None and c.name == taken.name]
    return max(own, key=lambda c: c.result.fitness or 0.0, default=None)
