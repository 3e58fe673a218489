"""The options of a problem, which several commands have. Runs on the driver."""

from __future__ import annotations

import argparse
from typing import Any

from menndl_dask.problem import TASKS, Problem

_PROBLEM = (
    "task", "inputs", "label", "ignore", "group", "metric", "metric_mode", "loss", "class_weight",
    "objectives", "constraints",
)  # fmt: skip


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
    text = "what selection compares: fitness, and costs that are to be small, such as latency_ms (default: fitness)"
    group.add_argument("--objectives", nargs="+", default=("fitness",), metavar="NAME", help=text)
    text = "limits that networks are to keep, such as 'latency_ms<=2' 'fitness>=0.8'"
    group.add_argument("--constraints", nargs="+", default=(), metavar="LIMIT", help=text)
    group.add_argument("--class-weight", default="auto", metavar="KIND", help="auto, balanced, sqrt or none")


def read_problem(given: argparse.Namespace, **settings: Any) -> Problem:
    """Return the problem of the options that `add_problem_options` adds.

    Functions of the user's own are imported first, in a process of their own: a mistake in a name is told at once.
    """
    from menndl_dask.data.data import open_problem
    from menndl_dask.data.keras_names import check_reference

    names = [("metric", given.metric), ("loss", given.loss)]
    names += [("augment", name) for name in settings.get("augmentation", ())]
    budget = settings.get("budget")
    for what, name in names:
        check_reference(what, name or "", None if budget is None else budget.backend)
    return open_problem(given.data, **{name: getattr(given, name) for name in _PROBLEM}, **settings)
