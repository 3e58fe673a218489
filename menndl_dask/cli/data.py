"""The commands ``menndl convert | check``, and the options of a problem. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command
from menndl_dask.data.data import open_problem
from menndl_dask.problem import TASKS, Problem
from menndl_dask.terminal import say

_CONVERSION = ("images", "label", "dims", "classes", "fill", "chunk")
_PROBLEM = ("task", "inputs", "label", "ignore", "group", "metric", "metric_mode", "loss", "class_weight")


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
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")


def add_problem_options(parser: argparse.ArgumentParser) -> None:
    """Add the data set and the options of the problem."""
    parser.add_argument("data", help="Zarr store with the labelled images")
    group = parser.add_argument_group("problem")
    group.add_argument("--task", choices=TASKS, help="default: what the labels look like")
    group.add_argument("--inputs", nargs="+", metavar="NAME", help="variables with the images; several: several views")
    group.add_argument("--label", default="label", metavar="NAME", help="variable with the labels (default: label)")
    group.add_argument("--ignore", type=int, metavar="VALUE", help="label of pixels or samples to ignore")
    group.add_argument("--group", metavar="NAME", help="coordinate whose samples stay together in one split")
    group.add_argument("--metric", metavar="NAME", help="what the fitness is: a name, or module:function of your own")
    group.add_argument("--metric-mode", choices=("max", "min"), default="max", help="is more or less of it better")
    loss = "such as dice_crossentropy, focal=2 or tversky=0.3; a Keras name, or module:function of your own"
    group.add_argument("--loss", metavar="NAME", help=loss)
    group.add_argument("--class-weight", default="auto", metavar="KIND", help="auto, balanced, sqrt or none")


def read_problem(given: argparse.Namespace, **settings: Any) -> Problem:
    """Return the problem of the options that `add_problem_options` adds."""
    return open_problem(given.data, **{name: getattr(given, name) for name in _PROBLEM}, **settings)


def _convert(given: argparse.Namespace) -> int:
    from menndl_dask.data.formats.conversion import convert

    path = convert(given.source, given.target, **{name: getattr(given, name) for name in _CONVERSION})
    say(f"written: {path}; next: menndl check {path}")
    return 0


def _check(given: argparse.Namespace) -> int:
    from menndl_dask.data.check.check import check_data

    say(*check_data(read_problem(given, seed=given.seed)).parts())
    return 0
