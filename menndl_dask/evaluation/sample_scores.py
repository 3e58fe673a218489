"""Test scores of each group of samples, which trainings for comparison leave in a run. Runs on the driver.

A training writes sums for each sample, or part of an image, from which the metric of any of them is computed. The
driver writes to which group each sample belongs: samples of one scene or patient are no independent evidence.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import files
from menndl_dask.data.labels import problem_dataset, split_positions
from menndl_dask.errors import DataError, RunError, one_line
from menndl_dask.problem import Problem

logger = logging.getLogger(__name__)

_GROUPS = "test_groups.npz"
_OF_EACH = ("image", "label", "prediction")  # of each sample that is kept to be looked at
# coordinates that name what samples were cut from, where the problem has no group
_NAMES = ("group", "patient", "scene", "session", "volume", "scan", "slide", "patch")


@dataclass(frozen=True, slots=True)
class Groups:
    """The group of each sample of the test split: its number, and what a group is, such as ``scene`` or ``sample``."""

    numbers: NDArray[np.int64]
    name: str

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.numbers.max()) + 1


def keep_groups(directory: Path, problem: Problem) -> None:
    """Write to which group each sample of the test split belongs, unless it is written.

    A group is one of the problem, else one of the coordinates ``group``, ``patient``, ``scene``, ``session``,
    ``volume``, ``scan``, ``slide`` or ``patch`` of the data; else an image of which several parts are tested, or a
    sample.
    """
    path = directory / _GROUPS
    if path.exists():
        return
    try:
        dataset = problem_dataset(problem)
        positions = split_positions(problem, dataset)["test"]
    except DataError as error:  # the workers may read what this machine cannot
        logger.warning("the groups of the test samples are not known: %s", error)
        return
    name, names = (problem.group, dataset.group) if dataset.group is not None else _found(problem)
    if names is None and dataset.label.regions:
        names, name = np.array([region.sample for region in dataset.label.regions]), "image"
    numbers = np.arange(len(positions))
    if names is not None and len(np.unique(names[positions])) > 1:
        numbers = np.unique(names[positions], return_inverse=True)[1]
    name = name if len(np.unique(numbers)) < len(positions) else "sample"
    try:
        with files.replacing(path) as partial, os.fdopen(files.create(partial), "wb") as file:
            np.savez_compressed(file, number=numbers, name=np.array(name))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def _found(problem: Problem) -> tuple[str, NDArray[Any] | None]:
    """Return the first coordinate of the data that names what samples were cut from, and its values."""
    for name in _NAMES:
        with suppress(DataError):  # there is none of this name
            return name, problem_dataset(replace(problem, group=name)).group
    return "sample", None


def read_groups(directory: Path) -> Groups | None:
    """Return the groups of the test split; None if they are not known."""
    found = _read(directory / _GROUPS)
    return None if found is None else Groups(found["number"].astype(np.int64), str(found["name"]))


def read_sums(path: Path, groups: Groups | None = None) -> NDArray[np.float64] | None:
    """Return the sums of a training for each group, ``(group, row, output)``; None if they are not known.

    Without `groups`, and where all of them are one image, each part of the split is a group.
    """
    found = _read(path)
    if found is None:
        return None
    sums, source = found["sums"].astype(np.float64), found["source"].astype(np.int64)
    if groups is None or not len(sums) or source.max() >= len(groups.numbers):
        number = source
    else:
        number = groups.numbers[source]
    if len(sums) and not np.ptp(number):
        number = np.arange(len(sums))
    whole = np.zeros((int(number.max()) + 1 if len(sums) else 0, *sums.shape[1:]))
    np.add.at(whole, number, sums)
    return whole


def read_examples(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the samples of the test split that a training has kept to be looked at; None if it has kept none.

    They are as `menndl_dask.training.scoring.examples.Examples.arrays` returns them.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    found = _read(path)
    if found is None:
        return None
    wanted = {"place", "unit", "score", "metric", "source", "confusion", "calibration"}
    wanted |= {f"{name}{n}" for n in range(found["place"].size if "place" in found else 0) for name in _OF_EACH}
    missing = sorted(wanted - set(found))
    classes = [int(found[name]) for name in found if name.startswith(_OF_EACH[1:]) and not found[name].ndim]
    if missing or max(classes, default=-1) >= max(1, len(found["confusion"])):
        what = f"expected the array {missing[0]}, found none" if missing else "a class number is too large"
        raise RunError(f"{path}: cannot be read: {what}; remove it: the report is written without it")
    return found


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    try:
        with os.fdopen(files.open_regular(path), "rb") as file, np.load(file, allow_pickle=False) as there:
            return {name: there[name] for name in there.files}
    except FileNotFoundError:  # of an earlier version, or a metric of the user's own
        return None
    except Exception as error:
        again = "restore it from a copy, or remove it: the comparison is shown without it"
        raise RunError(f"{path}: cannot be read: {one_line(error)}; {again}") from error
