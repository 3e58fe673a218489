"""Labels of a data set: checked, summarised by sample, and split. Runs on the driver.

Pixel labels are read in one pass; only a row for each sample is kept in memory: its class, its values, or its number
of pixels of each class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import format_dims
from menndl_dask.data.dataset import Dataset, Variable, blocks, open_dataset
from menndl_dask.data.splits import Positions, split_samples
from menndl_dask.errors import DataError
from menndl_dask.problem import Problem

MOST_CLASSES = 4096
"""Limit for classes without names; larger numbers are probably regression targets or object numbers."""

_QUANTILES = 10  # strata for regression


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of a task, one row for each sample; the class number `ignore` is not counted."""

    task: str
    rows: NDArray[Any]  # class numbers (sample,), values (sample, value) or numbers of pixels (sample, class)
    classes: tuple[str, ...] = ()  # their names; empty for regression
    ignore: int | None = None

    @property
    def outputs(self) -> int:
        """Number of classes, or of regression targets."""
        return self.rows.shape[1] if self.task == "regression" else len(self.classes)

    def class_counts(self, positions: Positions) -> tuple[int, ...]:
        """Return the number of samples or pixels of each class at these positions."""
        rows = self.rows[positions]
        if self.task == "classification":
            return tuple(np.bincount(rows[rows != self.ignore], minlength=self.outputs).tolist())
        return tuple(rows.sum(axis=0, dtype=np.int64).tolist())

    def strata(self) -> NDArray[np.int64]:
        """Return the stratum of each sample for stratified splits; negative for samples without a label.

        Strata are classes; for segmentation the class of the sample that occurs in the fewest samples; for regression
        deciles of the first value.
        """
        if self.task == "classification":
            return np.where(self.rows == self.ignore, -1, self.rows).astype(np.int64)
        if self.task == "regression":
            first = self.rows[:, 0]
            edges = np.quantile(first, np.linspace(0, 1, _QUANTILES + 1)[1:-1]) if len(first) else first
            return np.searchsorted(edges, first).astype(np.int64)
        present = self.rows > 0
        rarest = np.argsort(np.argsort(-present.sum(axis=0), kind="stable"), kind="stable")
        found: NDArray[np.int64] = np.where(present, rarest, -1).max(axis=1).astype(np.int64)
        return found

    def split(self, dataset: Dataset, seed: int) -> dict[str, Positions]:
        """Return the positions of the training, validation and test samples."""
        try:
            return split_samples(self.strata(), dataset.group, given=dataset.split, seed=seed)
        except DataError as error:
            raise DataError(f"{dataset.path}: {error}") from None


def splits(problem: Problem) -> dict[str, Positions]:
    """Return the sorted positions of the training, validation and test samples of a problem.

    They are read from the coordinate ``split`` if the data has one. Else 70, 15 and 15 % of the samples are drawn with
    the seed of the problem, stratified by class; a group is never divided.
    """
    dataset = problem_dataset(problem)
    return read_labels(dataset, problem.task, problem.ignore).split(dataset, problem.seed)


def problem_dataset(problem: Problem) -> Dataset:
    """Open the data set of a problem."""
    return open_dataset(problem.data, problem.inputs, problem.label, problem.group)


def infer_task(dataset: Dataset, task: str | None = None) -> str:
    """Infer the task from the type and dimensions of the labels, or check the given task.

    Integers per sample are classification, integers per pixel of the first view segmentation, other numbers
    regression.

    Raises
    ------
    DataError
        If the labels do not fit the given task or any task.
    """
    label, view = dataset.label, dataset.views[0]
    pixels = view.shape[: len(view.axes.spatial)]
    kind = label.array.dtype.kind
    if kind not in "iufb":
        expected = "class numbers from 0 on, with their names in the attribute 'classes', or values"
        raise label.error(f"expected {expected}, got values of type {label.array.dtype}")
    fits = {
        "classification": label.shape == (),
        "segmentation": label.shape == pixels,
        "regression": len(label.shape) <= 1,
    }
    suggested = [name for name, fitting in fits.items() if fitting and (kind == "f") == (name == "regression")]
    if task is None and suggested:
        return suggested[0]
    if task is not None and fits.get(task):
        return task
    shapes = {
        "classification": "a class number for each sample (sample)",
        "segmentation": f"a class number for each pixel of {view.name} {format_dims(('sample', *map(str, pixels)))}",
        "regression": "values for each sample (sample, value)",
    }
    expected = shapes[task] if task in shapes else " or ".join(shapes.values())
    got = format_dims(("sample", *map(str, label.shape)))
    raise label.error(f"expected {expected}, got {label.array.dtype} of shape {got}")


def read_labels(dataset: Dataset, task: str, ignore: int | None = None) -> LabelTable:
    """Read and check all labels; the class number to ignore is by default their attribute ``fill``.

    Raises
    ------
    DataError
        If a label is NaN, not a class number, or out of range.
    """
    label = dataset.label
    if task == "regression":
        return LabelTable(task, _values(label))
    ignore = _fill(label) if ignore is None else ignore
    names = _names(label)
    pieces = [_class_rows(label, *bounds, names, ignore, task) for bounds in blocks(label)]
    if task == "classification":
        rows = np.concatenate(pieces)
        found = int(max((rows[rows != ignore]), default=-1)) + 1
    else:
        found = max(piece.shape[1] for piece in pieces)
        rows = np.concatenate([np.pad(p, ((0, 0), (0, found - p.shape[1]))) for p in pieces])
    classes = names or tuple(str(number) for number in range(found))
    if len(classes) < 2:
        raise label.error(f"expected at least two classes, got {len(classes)}")
    return LabelTable(task, rows, classes, ignore)


def _fill(label: Variable) -> int | None:
    attributes = label.array.attrs
    value = attributes.get("fill", attributes.get("_FillValue") or None)  # Zarr v2 writes 0 by default
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if int(value) != value:
        raise label.error(f"attribute 'fill': expected a whole number, got {value!r}")
    return int(value)


def _names(label: Variable) -> tuple[str, ...]:
    names = label.array.attrs.get("classes", ())
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        raise label.error(f"attribute 'classes': expected a list of names, got {names!r}")
    return tuple(str(name) for name in names)


def _values(label: Variable) -> NDArray[np.float64]:
    pieces = []
    for start, stop in blocks(label):
        values = label.read(start, stop).reshape(stop - start, -1).astype(np.float64)
        if not np.isfinite(values).all():
            index = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            wrong = values[index][~np.isfinite(values[index])][0]
            raise label.error(f"sample {start + index}: expected a number, got {_number(wrong)}")
        pieces.append(values)
    return np.concatenate(pieces)


def _class_rows(
    label: Variable, start: int, stop: int, names: tuple[str, ...], ignore: int | None, task: str
) -> NDArray[Any]:
    """Return the class of each sample, or its number of pixels of each class."""
    values = label.read(start, stop)
    most = len(names) or MOST_CLASSES
    wrong = (values < 0) | (values >= most) | (values != np.floor(values) if values.dtype.kind == "f" else False)
    wrong |= np.isnan(values) if values.dtype.kind == "f" else False
    kept = np.ones(values.shape, dtype=np.bool_) if ignore is None else values != ignore
    wrong &= kept
    if wrong.any():
        raise label.error(_outside(values, wrong, start, names))
    if task == "classification":
        return values.astype(np.int64)
    width = len(names) or int(values.max(initial=0, where=kept)) + int(kept.any())
    # one by one: int64 class numbers of a whole block need eight times its memory
    pixels = (image[inside].astype(np.int64) for image, inside in zip(values, kept, strict=True))
    return np.array([np.bincount(numbers, minlength=width) for numbers in pixels], dtype=np.int32)


def _outside(values: NDArray[Any], wrong: NDArray[np.bool_], start: int, names: tuple[str, ...]) -> str:
    index = tuple(int(p) for p in np.argwhere(wrong)[0])
    where = f"sample {start + index[0]}" + (f", pixel {index[1:]}" if len(index) > 1 else "")
    got = _number(values[index])
    if names:
        return f"{where}: expected a class number from 0 to {len(names) - 1} ({', '.join(names)}), got {got}"
    hint = "; if labels are values to predict, the task is regression" if values[index] >= MOST_CLASSES else ""
    return f"{where}: expected a class number from 0 on, got {got}{hint}"


def _number(value: Any) -> str:
    return "NaN" if value != value else f"{value:g}"
