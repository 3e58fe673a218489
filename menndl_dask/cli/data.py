"""The commands ``menndl convert | check``. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command
from menndl_dask.cli.planning import new_plan, open_planned
from menndl_dask.cli.problem import add_problem_options
from menndl_dask.cluster.profile import read_profile
from menndl_dask.search.options import add_plan_options, check_counts
from menndl_dask.terminal import say

_CONVERSION = ("images", "label", "dims", "classes", "fill", "chunk")


def add_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
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
    text = "describe a data set, warn of mistakes in it, and score simple predictors"
    parser = add_command(commands, "check", _check, text)
    add_problem_options(parser)
    add_plan_options(parser)
    text = "plan without a training of some seconds, so that times are not known"
    parser.add_argument("--no-trial", action="store_true", help=text)


def _convert(given: argparse.Namespace) -> int:
    from menndl_dask.data.formats.conversion import convert

    path = convert(given.source, given.target, **{name: getattr(given, name) for name in _CONVERSION})
    say(f"written: {path}; next: menndl check {path}")
    return 0


def _check(given: argparse.Namespace) -> int:
    from menndl_dask.data.check.check import check_data

    check_counts(given)
    profile = read_profile(given.cluster)
    problem = open_planned(given)
    say(*check_data(problem).parts())
    plan = new_plan(given, problem, profile, trial=not given.no_trial)
    say("", *plan.parts())
    return 0
