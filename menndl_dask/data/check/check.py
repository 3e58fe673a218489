"""The data check: statistics of all samples, quick predictors and warnings. Runs on the driver."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.check.quick_predictors import QuickPredictors, Score
from menndl_dask.data.check.report import ClassReport, DataReport, Statistics, ViewReport
from menndl_dask.data.check.scan import DatasetScan, read_blocks
from menndl_dask.data.check.warnings import warn
from menndl_dask.data.dataset import Dataset, open_dataset, open_store
from menndl_dask.data.labels import LabelTable, problem_dataset, read_labels
from menndl_dask.data.splits import Positions
from menndl_dask.data.store.variable import Block
from menndl_dask.errors import reading
from menndl_dask.metric import to_fitness
from menndl_dask.problem import SPLITS, Problem

logger = logging.getLogger(__name__)


def check_data(problem: Problem, *, seconds: float = 5.0) -> DataReport:
    """Read every sample of a problem once, fit quick predictors on a part, and return a report.

    Of images that are larger than memory, evenly spaced parts are read.

    Parameters
    ----------
    problem
        The problem, from `open_problem`.
    seconds
        Approximate time limit for fitting each quick predictor.
    """
    with reading(problem.data):
        dataset = problem_dataset(problem)
        labels = read_labels(dataset, problem.task, problem.ignore)
        parts = labels.split(dataset, problem.seed)
        read = read_blocks(dataset)
        scan, predictors = DatasetScan(dataset), QuickPredictors(problem, labels, parts, read)
        for block in read:
            values = [view.images(block) for view in dataset.views], dataset.label.read(block)
            scan.update(block, *values)
            predictors.update(block, *values)
            logger.debug("%s: read %d of %d samples", dataset.path, block.stop, dataset.samples)
        fitness = problem.facts.constant_fitness
        about = "the mean of the labels" if problem.task == "regression" else "the most frequent class"
        constant = Score("constant", None if fitness is None else to_fitness(problem, fitness), about)
        report = DataReport(
            problem,
            given=_given_splits(problem),
            consecutive=dataset.consecutive and problem.group is None,
            divided=_divided(dataset, parts),
            read=sum(_pixels(dataset, block) for block in read) / sum(map(math.prod, dataset.views[0].sizes())),
            views=tuple(_view_report(dataset, scan, view) for view in range(len(dataset.views))),
            classes=_class_reports(labels, parts),
            values=_value_statistics(labels, dataset) if problem.task == "regression" else (),
            ignored=_ignored(dataset, labels),
            duplicates=scan.duplicates(parts),
            leaking=() if dataset.group is None else _leaking(dataset.group, parts),
            candidates=() if problem.group else _candidates(problem, parts),
            scores=(constant, *predictors.scores(seconds)),
        )
        return replace(report, warnings=tuple(warn(report)))


def score_simple_predictors(problem: Problem, *, seconds: float = 5.0) -> tuple[Score, ...]:
    """Fit the quick predictors on a part of the training split, and score them on a part of the test split.

    Only samples that they need are read: up to 2,000 of each split with a label for each sample, and windows of up to
    48 training and 32 test images with labels for pixels.

    Parameters
    ----------
    problem
        The problem, from `open_problem`.
    seconds
        Approximate time limit for fitting each quick predictor.

    Raises
    ------
    DataError
        If the data cannot be read.
    """
    with reading(problem.data):
        dataset = problem_dataset(problem)
        labels = read_labels(dataset, problem.task, problem.ignore)
        read = read_blocks(dataset)
        predictors = QuickPredictors(problem, labels, labels.split(dataset, problem.seed), read, scored="test")
        for block in filter(predictors.wants, read):
            predictors.update(block, [view.images(block) for view in dataset.views], dataset.label.read(block))
        return tuple(predictors.scores(seconds))


def _given_splits(problem: Problem) -> tuple[str, ...]:
    """Return the splits that the data gives, by its coordinate ``split``."""
    split = open_dataset(problem.data, problem.inputs, problem.label, problem.group).split
    return () if split is None else tuple(name for name in SPLITS if name in split)


def _divided(dataset: Dataset, parts: Mapping[str, Positions]) -> tuple[str, ...]:
    """Say for each image that is divided which part of it is in which split."""
    regions = dataset.label.regions
    of_split = {int(position): name for name, positions in parts.items() for position in positions}
    found = []
    for image in dict.fromkeys(region.sample for region in regions):
        size = dataset.label.stored_size(image)
        own = [(number, region) for number, region in enumerate(regions) if region.sample == image]
        if len(own) < 2:
            continue
        axis = next(a for a, length in enumerate(size) if own[0][1].size[a] < length)
        ordered = sorted(own, key=lambda item: item[1].start[axis])
        spans = [f"{of_split.get(number, 'none')} {r.start[axis]} to {r.stop[axis] - 1}" for number, r in ordered]
        which = "the image" if dataset.label.images_stored == 1 else f"image {image}"
        found.append(f"{which} is divided along {dataset.views[0].dims[axis]}: {', '.join(spans)}")
    return tuple(found)


def _pixels(dataset: Dataset, block: Block) -> int:
    view = dataset.views[0]
    if block.part is not None:
        return math.prod(len(range(*s.indices(n))) for s, n in zip(block.part, view.size(block.start), strict=True))
    return sum(math.prod(view.size(sample)) for sample in range(block.start, block.stop))


def _view_report(dataset: Dataset, scan: DatasetScan, index: int) -> ViewReport:
    view, moments, outliers = dataset.views[index], scan.moments[index], scan.outliers(index)
    far = scan.far_values(index)
    dim = None if view.axes.channel is None else view.array.dims[view.axes.channel]
    names = view.array[dim].values if dim in view.array.coords else range(len(moments.mean))
    columns = (moments.mean, np.sqrt(moments.variance), moments.minimum, moments.maximum, moments.missing)
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    channels = tuple(
        Statistics(str(name), mean, std, minimum, maximum, missing, c in outliers, far.get(c))
        for c, (name, mean, std, minimum, maximum, missing) in enumerate(rows)
    )
    return ViewReport(view, channels)


def _class_reports(labels: LabelTable, parts: Mapping[str, Positions]) -> tuple[ClassReport, ...]:
    if labels.task == "regression":
        return ()
    counts = [labels.class_counts(parts[name]) for name in SPLITS]
    present = counts
    if labels.task == "segmentation":
        present = [tuple((labels.rows[parts[name]] > 0).sum(axis=0).tolist()) for name in SPLITS]
    return tuple(
        ClassReport(name, tuple(c[k] for c in counts), tuple(p[k] for p in present))
        for k, name in enumerate(labels.classes)
        if k != labels.ignore
    )


def _value_statistics(labels: LabelTable, dataset: Dataset) -> tuple[Statistics, ...]:
    found, kind = [], dataset.label.array.dtype.kind
    for k, v in enumerate(labels.rows[labels.is_known].T):
        whole = len(np.unique(v)) if kind == "f" and (v == np.round(v)).all() else 0
        found.append(Statistics(str(k), float(v.mean()), float(v.std()), float(v.min()), float(v.max()), whole=whole))
    return tuple(found)


def _ignored(dataset: Dataset, labels: LabelTable) -> int:
    if labels.task == "classification":
        return int((labels.rows == labels.ignore).sum()) if labels.ignore is not None else 0
    if labels.task == "regression":
        if labels.sums is not None:
            return dataset.label.values - int(labels.sums[:, 0].sum())
        return int((~labels.is_known).sum())
    return dataset.label.values - int(labels.rows.sum(dtype=np.int64))


def _leaking(group: NDArray[np.str_], parts: Mapping[str, Positions]) -> tuple[str, ...]:
    held = Counter(name for where in parts.values() for name in set(group[where].tolist()))
    return tuple(sorted(str(name) for name, splits in held.items() if splits > 1))


def _candidates(problem: Problem, parts: Mapping[str, Positions]) -> tuple[str, ...]:
    """Return sample coordinates whose values repeat across splits: they may name groups."""
    dataset = problem_dataset(problem)
    if dataset.label.regions:
        return ()
    source = open_store(problem.data, (problem.label,))
    known = (problem.label, *problem.inputs, "split")
    report = []
    for name, array in source.variables.items():
        if name not in known and array.ndim == 1 and len(array) == dataset.samples:
            values = array.values.tolist()
            held = [{values[position] for position in where} for where in parts.values()]
            different = set().union(*held)
            if len(values) >= 2 * len(different) > 2 and sum(map(len, held)) > len(different):
                report.append(str(name))
    return tuple(sorted(report))
