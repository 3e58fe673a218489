"""The command line: ``menndl convert | check | search | resume | report | retrain | predict``. Runs on the driver."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from menndl_dask import __version__, workflow
from menndl_dask.cli.cluster import add_commands
from menndl_dask.cli.parser import add_cluster_options, add_command
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.data.data import open_problem
from menndl_dask.errors import RunError, UserError
from menndl_dask.problem import TASKS, Limits, Problem
from menndl_dask.report.conclusion import findings
from menndl_dask.report.report import write_report
from menndl_dask.run.layout import whole_run
from menndl_dask.run.run import Run
from menndl_dask.space.space import SearchSpace
from menndl_dask.terminal import say
from menndl_dask.validation import read

_DESCRIPTION = "Evolve a neural network made for your labelled images, on whatever machines you have."
_EXAMPLES = """examples:
  menndl convert my_images.npz my_images.zarr
  menndl check my_images.zarr
  menndl search my_images.zarr --run runs/mine --epochs 8 --evaluations 200
  menndl predict runs/mine/best.keras new_images.zarr predicted.zarr
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if it did what was asked, 1 if no network learnt, 2 for a mistake, 130 if it was stopped."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.function
    if command in (_search, _resume):
        return workflow.guarded(lambda: command(given))
    return workflow.guarded(lambda: command(given), "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "menndl", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"menndl_dask {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_convert, _add_check, _add_search, _add_resume, _add_report, _add_retrain, _add_predict):
        add(commands)
    add_commands(commands)
    return parser


# --- data -----------------------------------------------------------------------------------------------------------


def _add_convert(commands: Any) -> None:
    parser = add_command(commands, "convert", _convert, "write labelled images of another format to Zarr")
    parser.add_argument("source", type=Path, help=".npz, HDF5 or NetCDF file, TIFF stack, or folder of images")
    parser.add_argument("target", type=Path, help="Zarr store to write; must not exist")
    text = "array with the images, where it has no usual name; several: several views"
    parser.add_argument("--images", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--label", metavar="NAME", help="array with the labels, or the file that holds them")
    parser.add_argument("--dims", nargs="+", metavar="NAME", help="dimensions of the images: sample channel y x")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="names of the classes, by their numbers")
    parser.add_argument("--fill", type=int, metavar="VALUE", help="class number of what has no label")
    parser.add_argument("--chunk", type=int, metavar="N", help="samples in a chunk (default: some megabytes)")


def _convert(given: argparse.Namespace) -> int:
    from menndl_dask.data.formats.conversion import convert

    names = ("images", "label", "dims", "classes", "fill", "chunk")
    path = convert(given.source, given.target, **{name: getattr(given, name) for name in names})
    say(f"written: {path}; next: menndl check {path}")
    return 0


def _add_problem_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="Zarr store with the labelled images")
    group = parser.add_argument_group("problem")
    group.add_argument("--task", choices=TASKS, help="default: what the labels look like")
    group.add_argument("--inputs", nargs="+", metavar="NAME", help="variables with the images; several: several views")
    group.add_argument("--label", default="label", metavar="NAME", help="variable with the labels (default: label)")
    group.add_argument("--ignore", type=int, metavar="VALUE", help="label of pixels or samples to ignore")
    group.add_argument("--group", metavar="NAME", help="coordinate whose samples stay together in one split")
    group.add_argument("--metric", metavar="NAME", help="what the fitness is: a name, or module:function of your own")
    group.add_argument("--metric-mode", choices=("max", "min"), default="max", help="is more or less of it better")
    group.add_argument("--loss", metavar="NAME", help="a Keras name, or module:function of your own")
    group.add_argument("--class-weight", default="auto", metavar="KIND", help="auto, balanced, sqrt or none")


def _problem(given: argparse.Namespace, **settings: Any) -> Problem:
    return open_problem(
        given.data,
        task=given.task,
        inputs=given.inputs,
        label=given.label,
        ignore=given.ignore,
        group=given.group,
        metric=given.metric,
        metric_mode=given.metric_mode,
        loss=given.loss,
        class_weight=given.class_weight,
        **settings,
    )


def _add_check(commands: Any) -> None:
    text = "describe a data set, warn of mistakes in it, and score simple predictors"
    parser = add_command(commands, "check", _check, text)
    _add_problem_options(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")


def _check(given: argparse.Namespace) -> int:
    from menndl_dask.data.check.check import check_data

    say(*check_data(_problem(given, seed=given.seed)).parts())
    return 0


# --- search ---------------------------------------------------------------------------------------------------------


def _add_search(commands: Any) -> None:
    parser = add_command(commands, "search", _search, "evolve a network for a data set; the same command resumes")
    _add_problem_options(parser)
    group = parser.add_argument_group("search space")
    group.add_argument("--max-parameters", type=float, default=20e6, metavar="N", help="weights (default: 20e6)")
    group.add_argument("--max-flops", type=float, default=math.inf, metavar="N", help="FLOPs of one sample, forward")
    group.add_argument("--max-layers", type=int, metavar="N", help="layers of a network, the head not counted")
    group.add_argument("--training", action="store_true", help="evolve optimiser, learning rate and batch size too")
    workflow.add_options(parser)


def _search(given: argparse.Namespace) -> int:
    options = workflow.Options.read(given)
    problem = _problem(given, budget=options.budget, augmentation=options.augmentation, seed=options.seed)
    space = SearchSpace.image(
        problem,
        training=given.training,
        maximum=given.max_layers,
        max_parameters=given.max_parameters,
        max_flops=given.max_flops,
    )
    return workflow.main_job(problem, space, options)


def _add_resume(commands: Any) -> None:
    parser = add_command(commands, "resume", _resume, "resume a run of menndl search with its options")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--evaluations", metavar="N", help="networks to evaluate, those done included")
    parser.add_argument("--hours", metavar="H", help="other hours to search")
    parser.add_argument("--cluster", metavar="PROFILE", help="another cluster profile")
    parser.add_argument("--workers", metavar="N", help="another number of workers")


def _resume(given: argparse.Namespace) -> int:
    run = Run(given.run)
    words = [str(word) for word in run.settings.get("arguments", ())]
    if not words or words[0] != "search":
        command = run.settings.get("command") or "a script"
        raise RunError(f"{given.run}: was begun by {command}; the same command again carries on")
    for name in ("evaluations", "hours", "cluster", "workers"):
        if getattr(given, name) is not None:
            words += [f"--{name}", getattr(given, name)]  # the last one counts
    return main([*words, "--run", str(whole_run(given.run))])


# --- afterwards -----------------------------------------------------------------------------------------------------


def _add_report(commands: Any) -> None:
    parser = add_command(commands, "report", _report, "write the report of a run, running or not, and show its table")
    parser.add_argument("run", type=Path, help="run directory")


def _report(given: argparse.Namespace) -> int:
    run = Run(given.run)
    say(*findings(run))
    say(f"report: {write_report(run)}")
    return 0


def _add_retrain(commands: Any) -> None:
    text = "train the best networks of a run and the standard one for longer, and compare them"
    parser = add_command(commands, "retrain", _retrain, text)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--retrain", type=float, default=4.0, metavar="X", help="times the budget (default: 4)")
    parser.add_argument("--finalists", type=int, default=2, metavar="N", help="how many networks (default: 2)")
    add_cluster_options(parser)


def _retrain(given: argparse.Namespace) -> int:
    for name in ("retrain", "finalists"):
        if getattr(given, name) <= 0:
            raise UserError(f"--{name}: expected a number > 0, got {getattr(given, name)}")
    run = Run(given.run)
    with load_cluster(given.cluster, workers=given.workers) as cluster, cluster.client() as client:
        limits = read(Limits, run.settings["limits"], "limits")
        workflow.compare(run, client, factor=given.retrain, finalists=given.finalists, limits=limits)
    say(*findings(run))
    say(f"report: {write_report(run)}")
    return 0


def _add_predict(commands: Any) -> None:
    parser = add_command(commands, "predict", _predict, "apply a trained network to images of any size in Zarr")
    parser.add_argument("model", type=Path, help="trained network, such as runs/mine/best.keras")
    parser.add_argument("source", type=Path, help="Zarr store with the images")
    parser.add_argument("target", type=Path, help="Zarr store to write; must not exist")
    text = "variables with the images (default: those that the network was trained on)"
    parser.add_argument("--variable", nargs="+", metavar="NAME", help=text)
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="side of the tiles of a large image")
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help="pixels that tiles share with their neighbours")
    parser.add_argument("--probabilities", action="store_true", help="write the probability of each class")
    add_cluster_options(parser)


def _predict(given: argparse.Namespace) -> int:
    from menndl_dask.prediction.prediction import predict

    with load_cluster(given.cluster, workers=given.workers) as cluster, cluster.client() as client:
        path = predict(
            given.model,
            given.source,
            given.target,
            variable=given.variable,
            tile=given.tile,
            overlap=given.overlap,
            client=client,
            probabilities=given.probabilities,
        )
    say(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
