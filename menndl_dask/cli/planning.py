"""The plan that follows from the options of a command. Runs on the driver."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from menndl_dask import own_code
from menndl_dask.cli.problem import read_problem
from menndl_dask.cluster.profile import Profile
from menndl_dask.errors import UserError
from menndl_dask.problem import UNITS, Budget, Problem
from menndl_dask.run.planned_value import PlannedValue
from menndl_dask.run.settings import FILE, Settings, read_settings
from menndl_dask.search.options import PLANNED
from menndl_dask.search.plan.frozen_plan import frozen_values, merged
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.plan.plan import Plan, patch_of, plan_search
from menndl_dask.terminal import say

# what the data is opened with
_OF_DATA = ("patch", "patches", "normalisation", "large_images")


def given_values(given: argparse.Namespace) -> dict[str, Any]:
    """Return the planned values that the user gave, by their names."""
    names = (*PLANNED, "loss", "retrain", "finalists")
    values = {name: getattr(given, name) for name in names}
    if values["patch"] is not None:
        values["patch"] = ",".join(values["patch"])  # a word, one number, or one for each axis
    return {name: value for name, value in values.items() if value is not None}


def open_planned(given: argparse.Namespace, budget: Budget | None = None) -> Problem:
    """Open the data with what the user gave of patch, normalisation and augmentation; what is left out is chosen."""
    values = given_values(given)
    chosen = {name: values[name] for name in _OF_DATA if name in values}
    chosen["patches_per_epoch"] = chosen.pop("patches", None)
    return read_problem(given, budget=budget, augmentation=given.augment or (), seed=given.seed, **chosen)


def new_plan(given: argparse.Namespace, problem: Problem, profile: Profile, *, trial: bool) -> Plan:
    """Return the plan of a new search, or of one that a check shows."""
    machine = Machine.of(profile, given.workers, getattr(given, "backend", None))
    if trial and machine.is_this:
        say("planning: the standard network is trained for some seconds …", stream=sys.stderr)
    return plan_search(problem, given_values(given), machine, trial=trial)


def resumed_plan(
    given: argparse.Namespace, budget: Budget, profile: Profile, settings: Settings, words: Sequence[str]
) -> Plan:
    """Return the plan of a run that has begun, with what the user gives now in its place.

    `budget` has the settings of the training that are not planned; `settings` is the content of ``run.yaml``, and
    `words` are those of the command.
    """
    frozen = frozen_values(settings)
    values = merged(frozen, given_values(given))
    known = {name: each.value for name, each in values.items()}
    if known.get("evaluations") is None and known.get("hours") is None:
        raise UserError("expected --evaluations or --hours (or both), got neither")
    length: dict[str, Any] = {name: known.get(name) for name in UNITS}
    budget = replace(budget, batch_size=known["batch_size"], **length)
    code = [name for name in (known["loss"], *known["augment"]) if name is not None and own_code.is_reference(name)]
    own_code.demand_allowed(f"{given.run / FILE}", code, ["menndl", *words])
    opened, former = {name: known.get(name) for name in _OF_DATA}, Problem.from_dict(settings["problem"])
    if opened["patch"] is None or (former.patches is not None and opened["patch"] == former.patches.size):
        opened["patch"] = patch_of(former)
    opened["patches_per_epoch"] = opened.pop("patches")
    given = argparse.Namespace(**{**vars(given), "loss": known["loss"]})
    problem = read_problem(given, budget=budget, augmentation=known["augment"], seed=given.seed, **opened)
    if problem.patches is not None and former.patches is not None:
        tiles = {name: getattr(former.patches, name) for name in ("validation_tiles", "test_tiles")}
        problem = replace(problem, patches=replace(problem.patches, **tiles))
    values["patch"] = replace(values["patch"], value=None if problem.patches is None else problem.patches.size)
    workers = Machine.of(profile, given.workers, getattr(given, "backend", None)).most_workers(known["memory_limit"])
    values["workers"] = PlannedValue("workers", workers, "of this machine now")
    values.pop("minutes", None)  # a part of it has passed
    return Plan(problem, tuple(values.values()))


def run_path(given: argparse.Namespace) -> Path:
    """Return the run directory: the one that the user gave, else one with the name of the data."""
    if given.run is not None:
        return Path(given.run)
    former = Path("runs/search")  # the default of version 0.2.0 and before
    if (former / FILE).exists():
        problem = read_settings(former / FILE).get("problem") or {}
        if problem.get("data") == (given.data if "://" in given.data else str(Path(given.data).absolute())):
            return former
    name = given.data.rstrip("/").rpartition("/")[2]
    return Path("runs") / (name.removesuffix(".zarr") or "search")
