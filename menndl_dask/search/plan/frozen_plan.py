"""The plan of a run that has begun, from its ``run.yaml``: a resumed search follows it. Runs on the driver.

Runs of version 0.2.0 and before had no plan; the values are those that they were begun with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from menndl_dask.problem import UNITS, Budget, Problem
from menndl_dask.run.planned_value import GIVEN, PlannedValue

_GB = 1e9
_AGAIN = "as when the run began"


def frozen_values(settings: Mapping[str, Any]) -> dict[str, PlannedValue]:
    """Return the planned values of a run by their names.

    Parameters
    ----------
    settings
        The content of ``run.yaml``, of a run on a data set.
    """
    problem = Problem.from_dict(settings["problem"])
    rules, limits = settings["space"].get("rules") or {}, settings["limits"]
    values: dict[str, Any] = {
        "patch": None if problem.patches is None else problem.patches.size,
        "batch_size": problem.budget.batch_size,
        **_length(problem.budget),
        "normalisation": problem.normalisation,
        "loss": problem.loss,
        "augment": problem.augmentation,
        "large_images": problem.large_images,
        "max_parameters": rules.get("max_parameters"),
        "max_flops": rules.get("max_flops"),
        "max_memory": None if not rules.get("max_memory_bytes") else rules["max_memory_bytes"] / _GB,
        "memory_limit": None if not limits.get("memory_bytes") else limits["memory_bytes"] / _GB,
        "time_limit": limits.get("seconds"),
    }
    if problem.patches is not None:
        values["patches"] = problem.patches.per_epoch
    planned = {name: PlannedValue.from_dict(name, each) for name, each in (settings.get("plan") or {}).items()}
    for name, value in values.items():
        reason = planned[name].reason if name in planned else _AGAIN
        planned[name] = PlannedValue(name, value, reason, name in planned and planned[name].given)
    return planned


def merged(frozen: Mapping[str, PlannedValue], given: Mapping[str, Any]) -> dict[str, PlannedValue]:
    """Return the values of a run with those that the user gives now in their places."""
    values = dict(frozen)
    groups = (UNITS, ("evaluations", "hours"))  # of which a user gives one or more
    for names in groups:
        if any(given.get(name) is not None for name in names):
            values = {name: each for name, each in values.items() if name not in names}
    for name, value in given.items():
        if value is not None:
            values[name] = PlannedValue(name, value, GIVEN, given=True)
    return values


def _length(budget: Budget) -> dict[str, Any]:
    return {name: value for name in UNITS if (value := getattr(budget, name)) is not None}
