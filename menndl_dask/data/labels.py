"""Labels of a data set: checked, summarised by sample, and split. Runs on the driver.

Pixel labels are read in one pass; only a row for each sample is kept in memory: its class, its values, or its number
of pixels of each class. A sample is an image, or a region of one that is divided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import format_dims
from menndl_dask.data.dataset import Dataset, open_dataset
from menndl_dask.data.parts.regions import Region, cut, cut_axis
from menndl_dask.data.splits import Positions, split_samples
from menndl_dask.data.store.variable import Block, Variable, blocks
from menndl_dask.errors import DataError
from menndl_dask.problem import SPLITS, Patches, Problem

MOST_CLASSES = 4096
"""Limit for classes without names; larger numbers are probably regression targets or object numbers."""

_QUANTILES = 10  # strata for regression
_MOST_PROFILE_PIXELS = 2**26  # of an image that is divided, whose labels are read to divide it well
_AT_ONCE = 2**20  # labels
_COMPARED = 16  # classes, up to which labels are compared with each of them
_FEW = 2  # images that are divided where they must give several splits


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of a task, one row for each sample; the class number `ignore` is not counted."""

    task: str
    rows: NDArray[Any]  # class numbers (sample,), values (sample, value) or numbers of pixels (sample, class)
    classes: tuple[str, ...] = ()  # their names; empty for regression
    ignore: int | None = None
    # of values of pixels: their number, sum and sum of squares in each sample (sample, 3); the rows are the means
    sums: NDArray[np.float64] | None = None
    are_whole: bool = False  # values of pixels that have no fractions, which may be class numbers

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether each sample has all values to predict, or any pixel with one."""
        known: NDArray[np.bool_] = ~np.isnan(self.rows).any(axis=1) if self.sums is None else self.sums[:, 0] > 0
        return known

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

    def moments(self, positions: Positions) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the variance of each value to predict at these positions; of classes none."""
        if self.task != "regression":
            return (), ()
        if self.sums is None:
            values = self.rows[positions]
            return tuple(values.mean(axis=0).tolist()), tuple(values.var(axis=0).tolist())
        number, total, squares = self.sums[positions].sum(axis=0).tolist()
        mean = total / max(number, 1)
        return (mean,), (max(squares / max(number, 1) - mean**2, 0.0),)

    def strata(self) -> NDArray[np.int64]:
        """Return the stratum of each sample for stratified splits; negative for samples without a label.

        Strata are classes; for segmentation the class of the sample that occurs in the fewest samples; for regression
        deciles of the first value.
        """
        if self.task == "classification":
            return np.where(self.rows == self.ignore, -1, self.rows).astype(np.int64)
        if self.task == "regression":
            first, known = self.rows[:, 0], self.is_known
            edges = np.quantile(first[known], np.linspace(0, 1, _QUANTILES + 1)[1:-1]) if known.any() else first[:0]
            return np.where(known, np.searchsorted(edges, first), -1).astype(np.int64)
        present = self.rows > 0
        rarest = np.argsort(np.argsort(-present.sum(axis=0), kind="stable"), kind="stable")
        found: NDArray[np.int64] = np.where(present, rarest, -1).max(axis=1).astype(np.int64)
        return found

    def split(self, dataset: Dataset, seed: int) -> dict[str, Positions]:
        """Return the positions of the training, validation and test samples."""
        try:
            given, consecutive = dataset.split, dataset.consecutive
            return split_samples(self.strata(), dataset.group, given=given, consecutive=consecutive, seed=seed)
        except DataError as error:
            raise DataError(f"{dataset.path}: {error}") from None


def splits(problem: Problem) -> dict[str, Positions]:
    """Return the sorted positions of the training, validation and test samples of a problem.

    They are read from the coordinate ``split`` if the data has one. Else 70, 15 and 15 % of the samples are drawn with
    the seed of the problem, stratified by class; a group is never divided. Where images are divided, positions are
    those of the regions of `problem_dataset`.
    """
    return split_positions(problem, problem_dataset(problem))


def split_positions(problem: Problem, dataset: Dataset) -> dict[str, Positions]:
    """Return the positions of `splits` in an open data set."""
    if dataset.label.regions and dataset.split is not None and set(dataset.split.tolist()) == set(SPLITS):
        return {name: np.flatnonzero(dataset.split == name) for name in SPLITS}  # without reading the labels
    return read_labels(dataset, problem.task, problem.ignore).split(dataset, problem.seed)


def region_table(problem: Problem) -> NDArray[np.int64]:
    """Return the regions to which `splits` refers, ``(region, image, first pixels…, pixels after the last…)``.

    It has no rows if images are not divided: then positions are those of samples.
    """
    dataset = problem_dataset(problem)
    rows = [(region.sample, *region.start, *region.stop) for region in dataset.label.regions]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 1 + 2 * problem.rank)


def problem_dataset(problem: Problem) -> Dataset:
    """Open the data set of a problem, its images divided or resized as the problem says."""
    dataset = open_dataset(problem.data, problem.inputs, problem.label, problem.group)
    if problem.large_images == "resize":
        return dataset.resized(problem.facts.input_shapes[0][:-1])
    if problem.patches is not None and problem.by_pixel:
        return divided(dataset, problem.patches, problem.ignore)
    return dataset


def label_type(problem: Problem) -> str:
    """Return the type in which labels are staged: small integers, or float32 values."""
    if problem.task == "regression":
        return "<f4"
    return "|u1" if problem.facts.outputs <= 256 and 0 <= (problem.ignore or 0) <= 255 else "<i4"


def images_to_divide(dataset: Dataset) -> tuple[list[int], list[str]]:
    """Return the one or two images that must give more splits than they can give whole, and the names of the splits.

    Both are empty if there are images enough.
    """
    given = dataset.split
    names = [name for name in SPLITS if given is None or name == "train" or not (given == name).any()]
    pool = list(range(dataset.samples)) if given is None else np.flatnonzero(given == "train").tolist()
    return (pool, names) if len(names) > 1 and 0 < len(pool) <= _FEW else ([], [])


def divided(dataset: Dataset, patches: Patches, ignore: int | None = None) -> Dataset:
    """Return the data set with one or two images divided along their longest axis into parts for the splits.

    Raises
    ------
    DataError
        If an image is too small to be divided.
    """
    pool, names = images_to_divide(dataset)
    if not pool:
        return dataset
    label, regions, of_split = dataset.label, [], []
    ignore = _fill(label) if ignore is None else ignore
    for image in range(dataset.samples):
        size = label.size(image)
        if image not in pool:
            regions.append(Region(image, (0,) * len(size), size))
            of_split.append(str(dataset.split[image]) if dataset.split is not None else "train")
            continue
        axis = cut_axis(size)
        side, gap = patches.size[axis], patches.gap[axis] if patches.gap else 0
        least = 2 * gap if 0 < gap < side // 2 else side  # of a small image, parts are narrower than patches
        try:
            profile = _class_profile(label, image, axis, ignore)
            parts = cut(size[axis], names, least=least, gap=gap, profile=profile)
        except DataError as error:
            raise label.error(f"image {image}: pixels along {label.dims[axis]}: {error}") from None
        for name, (start, stop) in parts.items():
            low, high = [0] * len(size), list(size)
            low[axis], high[axis] = start, stop
            regions.append(Region(image, tuple(low), tuple(high)))
            of_split.append(name)
    return dataset.in_regions(regions, np.array(of_split))


def _class_profile(label: Variable, image: int, axis: int, ignore: int | None) -> NDArray[np.int64]:
    """Return the number of pixels of each class at each place along an axis, ``(place, class)``.

    Of a very large image only evenly spaced blocks are read.
    """
    size = label.size(image)
    whole = [block for block in blocks(label) if block.start == image or block.start < image < block.stop]
    found: list[tuple[int, NDArray[np.int64]]] = []
    for block in whole[:: max(1, math.prod(size) // _MOST_PROFILE_PIXELS)]:
        values = np.moveaxis(label.read(block)[image - block.start], axis, 0)
        first = block.part[axis].start if block.part is not None else 0
        for place, plane in enumerate(values):
            # as whole numbers first: NumPy before 2.2.6 crashes when bytes with gaps are compared with a larger number
            numbers = np.nan_to_num(plane, nan=-1).astype(np.int64)
            known = (numbers >= 0) & (numbers < MOST_CLASSES) & (numbers != (-1 if ignore is None else ignore))
            found.append((first + place, np.bincount(numbers[known])))
    profile = np.zeros((size[axis], max((len(counts) for _, counts in found), default=1)), dtype=np.int64)
    for place, counts in found:
        profile[place, : len(counts)] += counts
    return profile


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
    pixels = view.size(0)
    kind = label.array.dtype.kind
    if kind not in "iufb":
        expected = "class numbers from 0 on, with their names in the attribute 'classes', or values"
        hint = "; menndl convert makes class numbers of names" if kind in "OSUT" else ""
        raise label.error(f"expected {expected}, got values of type {label.array.dtype}{hint}")
    fits = {
        "classification": label.shape == (),
        "segmentation": len(label.axes.spatial) == view.rank and label.sizes() == view.sizes(),
        "regression": len(label.shape) <= 1 or (label.sizes() == view.sizes() and len(label.axes.spatial) == view.rank),
    }
    suggested = [name for name, fitting in fits.items() if fitting and (kind == "f") == (name == "regression")]
    if task is None and suggested:
        return suggested[0]
    if task is not None and fits.get(task):
        return task
    shapes = {
        "classification": "a class number for each sample (sample)",
        "segmentation": f"a class number for each pixel of {view.name} {format_dims(('sample', *map(str, pixels)))}",
        "regression": "values for each sample (sample, value), or one for each pixel",
    }
    expected = shapes[task] if task in shapes else " or ".join(shapes.values())
    got = format_dims(("sample", *map(str, label.shape)))
    hint = "; the task regression predicts whole numbers as values" if task is None and fits["regression"] else ""
    raise label.error(f"expected {expected}, got {label.array.dtype} of shape {got}{hint}")


def is_by_pixel(dataset: Dataset, task: str) -> bool:
    """Return whether there is a label for each pixel: a class, or a value."""
    return task == "segmentation" or (task == "regression" and bool(dataset.label.axes.spatial))


def read_labels(dataset: Dataset, task: str, ignore: int | None = None) -> LabelTable:
    """Read and check all labels; the class number to ignore is by default their attribute ``fill``.

    Raises
    ------
    DataError
        If a label is infinite, not a class number, or out of range. NaN is a missing value to predict.
    """
    label = dataset.label
    if task == "regression" and is_by_pixel(dataset, task):
        sums, are_whole = _pixel_sums(label)
        labels = LabelTable(task, sums[:, 1:2] / np.maximum(sums[:, :1], 1), sums=sums, are_whole=are_whole)
    elif task == "regression":
        labels = LabelTable(task, _values(label))
    if task == "regression":
        if not labels.is_known.any():
            raise label.error("expected numbers, got only NaN")
        return labels
    ignore = _fill(label) if ignore is None else ignore
    names = _names(label)
    if task == "classification":
        rows = np.concatenate([_checked(label, block, names, ignore).astype(np.int64) for block in blocks(label)])
        found = int(max((rows[rows != ignore]), default=-1)) + 1
    else:
        rows = _pixel_rows(label, names, ignore)
        found = rows.shape[1]
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
    for block in blocks(label):
        start = block.start
        values = label.read(block).reshape(block.stop - start, -1).astype(np.float64)
        if (wrong := _no_value(label, values)).any():
            index = int(np.flatnonzero(wrong.any(axis=1))[0])
            got = _number(values[index][wrong[index]][0])
            raise label.error(f"sample {start + index}: expected a number, got {got} (a missing one is NaN)")
        pieces.append(values)
    return np.concatenate(pieces)


def _pixel_sums(label: Variable) -> tuple[NDArray[np.float64], bool]:
    """Return the number, the sum and the sum of squares of each sample's pixels, and whether all are whole numbers."""
    sums, are_whole = np.zeros((label.samples, 3)), True
    for block in blocks(label):
        for sample, image in enumerate(label.read(block), block.start):
            values = image.astype(np.float64)
            if (wrong := _no_value(label, values)).any():
                got = f"{_number(values[wrong][0])} (a missing one is NaN)"
                raise label.error(f"sample {sample}: expected a number for each pixel, got {got}")
            known = values[~np.isnan(values)]
            sums[sample] += known.size, known.sum(), np.square(known).sum()
            are_whole = are_whole and bool((known == np.round(known)).all())
    return sums, are_whole


def _no_value(label: Variable, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are infinite, or what an attribute of the label says to be missing: NaN is to be there."""
    wrong: NDArray[np.bool_] = np.isinf(values)
    for name in ("fill", "_FillValue", "missing_value"):
        value = label.array.attrs.get(name)
        if isinstance(value, int | float) and value:  # Zarr v2 writes 0 by default
            wrong |= values == value
    return wrong


def _pixel_rows(label: Variable, names: tuple[str, ...], ignore: int | None) -> NDArray[np.int64]:
    """Return the number of pixels of each class in each sample."""
    rows = np.zeros((label.samples, len(names)), dtype=np.int64)
    for block in blocks(label):
        values = label.read(block)
        for sample, image in enumerate(values, block.start):
            counts = class_counts(image, len(names) or None, ignore)
            if counts is None:
                raise label.error(_outside(label, values, _wrong(values, names, ignore), block, names))
            if len(counts) > rows.shape[1]:
                rows = np.pad(rows, ((0, 0), (0, len(counts) - rows.shape[1])))
            rows[sample, : len(counts)] += counts
    return rows


def class_counts(labels: NDArray[Any], classes: int | None, ignore: int | None) -> NDArray[np.int64] | None:
    """Return the number of labels of each class; None if there are others.

    >>> class_counts(np.array([[0, 2], [2, 255]], dtype="uint8"), 3, 255).tolist()
    [1, 0, 2]
    """
    flat = labels.reshape(-1)
    most = classes or MOST_CLASSES
    if flat.dtype.kind in "iub" and classes is not None and classes <= _COMPARED:  # many times faster than to count
        counts = np.array([np.count_nonzero(flat == number) for number in range(classes)], dtype=np.int64)
        ignored = 0 if ignore is None or 0 <= ignore < classes else np.count_nonzero(flat == ignore)
        if counts.sum() + ignored != flat.size:
            return None
        if ignore is not None and 0 <= ignore < classes:
            counts[ignore] = 0
        return counts
    total = np.zeros(classes or 0, dtype=np.int64)
    for first in range(0, len(flat), _AT_ONCE):  # int64 class numbers need eight times the memory
        piece = flat[first : first + _AT_ONCE]
        known = piece if ignore is None else piece[piece != ignore]
        if len(known) and (
            not (known.min() >= 0 and known.max() < most) or (known.dtype.kind == "f" and (known % 1).any())
        ):
            return None
        counts = np.bincount(known.astype(np.int64), minlength=len(total))
        total = np.pad(total, (0, len(counts) - len(total))) + counts
    return total


def _checked(label: Variable, block: Block, names: tuple[str, ...], ignore: int | None) -> NDArray[Any]:
    """Return the class numbers of a block."""
    values = label.read(block)
    wrong = _wrong(values, names, ignore)
    if wrong.any():
        raise label.error(_outside(label, values, wrong, block, names))
    return values


def _wrong(values: NDArray[Any], names: tuple[str, ...], ignore: int | None) -> NDArray[np.bool_]:
    """Return which labels are no class numbers and not ignored."""
    most = len(names) or MOST_CLASSES
    wrong: NDArray[np.bool_] = (
        (values < 0) | (values >= most) | (values != np.floor(values) if values.dtype.kind == "f" else False)
    )
    wrong |= np.isnan(values) if values.dtype.kind == "f" else False
    return wrong if ignore is None else wrong & (values != ignore)


def _outside(
    label: Variable, values: NDArray[Any], wrong: NDArray[np.bool_], block: Block, names: tuple[str, ...]
) -> str:
    index = tuple(int(p) for p in np.argwhere(wrong)[0])
    sample = block.start + index[0]
    pixel = [p + (s.start or 0) for p, s in zip(index[1:], block.part or (slice(0),) * len(index[1:]), strict=True)]
    if label.regions and pixel:
        region = label.regions[sample]
        sample, pixel = region.sample, [p + low for p, low in zip(pixel, region.start, strict=True)]
    where = f"sample {label.keys[sample] if label.keys else sample}" + (f", pixel {tuple(pixel)}" if pixel else "")
    got = _number(values[index])
    if names:
        return f"{where}: expected a class number from 0 to {len(names) - 1} ({', '.join(names)}), got {got}"
    hint = "; if labels are values to predict, the task is regression" if values[index] >= MOST_CLASSES else ""
    return f"{where}: expected a class number from 0 on, got {got}{hint}"


def _number(value: Any) -> str:
    return "NaN" if value != value else f"{value:g}"
