"""The data check: statistics of all samples, quick predictors and warnings. Runs on the driver."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.check.quick_predictors import QuickPredictors, Score
from menndl_dask.data.check.report import ChannelReport, ClassReport, DataReport, ValueReport, ViewReport
from menndl_dask.data.check.scan import DatasetScan, read_blocks
from menndl_dask.data.check.warnings import warn
from menndl_dask.data.dataset import Dataset, Variable, open_store
from menndl_dask.data.labels import LabelTable, problem_dataset, read_labels
from menndl_dask.data.splits import Positions
from menndl_dask.metric import to_fitness
from menndl_dask.problem import SPLITS, Problem


def check_data(problem: Problem, *, seconds: float = 5.0) -> DataReport:
    """Read every sample of a problem once, fit quick predictors on a part, and return a report.

    Parameters
    ----------
    problem
        The problem, from `open_problem`.
    seconds
        Approximate time limit for fitting each quick predictor.
    """
    dataset = problem_dataset(problem)
    labels = read_labels(dataset, problem.task, problem.ignore)
    parts = labels.split(dataset, problem.seed)
    scan, predictors = DatasetScan(dataset), QuickPredictors(problem, labels, parts)
    read_blocks(dataset, scan.update, predictors.update)
    report = DataReport(
        problem,
        given=() if dataset.split is None else tuple(n for n in SPLITS if n in dataset.split),
        views=tuple(_view_report(dataset, scan, view) for view in range(len(dataset.views))),
        classes=_class_reports(labels, parts),
        values=_value_reports(labels, dataset.label.array.dtype.kind == "f"),
        ignored=_ignored(dataset, labels),
        duplicates=scan.duplicates(parts),
        leaking=_leaking(dataset, parts),
        candidates=() if problem.group else _candidates(problem, parts),
        scores=(_constant(problem), *predictors.scores(seconds)),
    )
    return replace(report, warnings=tuple(warn(report)))


def _view_report(dataset: Dataset, scan: DatasetScan, index: int) -> ViewReport:
    view, moments, outliers = dataset.views[index], scan.moments[index], scan.outliers(index)
    names = _channel_names(view, len(moments.mean))
    channels = tuple(
        ChannelReport(
            name,
            float(moments.mean[c]),
            float(np.sqrt(moments.variance[c])),
            float(moments.minimum[c]),
            float(moments.maximum[c]),
            int(moments.missing[c]),
            c in outliers,
        )
        for c, name in enumerate(names)
    )
    return ViewReport(
        view.name, view.dims, view.shape, str(view.array.dtype), view.chunk, view.sample_bytes, view.samples, channels
    )


def _channel_names(view: Variable, number: int) -> list[str]:
    """Return the channel names from their coordinate, else numbers."""
    dim = None if view.axes.channel is None else view.array.dims[view.axes.channel]
    return [str(name) for name in view.array[dim].values] if dim in view.array.coords else list(map(str, range(number)))


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


def _value_reports(labels: LabelTable, fractions: bool) -> tuple[ValueReport, ...]:
    if labels.task != "regression":
        return ()
    return tuple(
        ValueReport(
            str(k), float(v.mean()), float(v.std()), float(v.min()), float(v.max()), _count_whole(v) if fractions else 0
        )
        for k, v in enumerate(labels.rows.T)
    )


def _count_whole(values: NDArray[np.float64]) -> int:
    """Return the number of different values if all are whole numbers, else 0."""
    return len(np.unique(values)) if bool((values == np.round(values)).all()) else 0


def _ignored(dataset: Dataset, labels: LabelTable) -> int:
    if labels.task == "classification":
        return int((labels.rows == labels.ignore).sum()) if labels.ignore is not None else 0
    if labels.task == "regression":
        return 0
    return dataset.samples * math.prod(dataset.label.shape) - int(labels.rows.sum(dtype=np.int64))


def _leaking(dataset: Dataset, parts: Mapping[str, Positions]) -> tuple[str, ...]:
    if dataset.group is None:
        return ()
    held = Counter(name for where in parts.values() for name in set(dataset.group[where].tolist()))
    return tuple(sorted(str(name) for name, splits in held.items() if splits > 1))


def _candidates(problem: Problem, parts: Mapping[str, Positions]) -> tuple[str, ...]:
    """Return sample coordinates whose values repeat across splits: they may name groups."""
    source = open_store(problem.data, (problem.label,))
    known = (problem.label, *problem.inputs, "split")
    report = []
    for name, array in source.variables.items():
        if name not in known and array.dims == source[problem.label].dims[:1]:
            values = array.values.tolist()
            held = [{values[position] for position in where} for where in parts.values()]
            different = set().union(*held)
            if len(values) >= 2 * len(different) > 2 and sum(map(len, held)) > len(different):
                report.append(str(name))
    return tuple(sorted(report))


def _constant(problem: Problem) -> Score:
    fitness = problem.facts.constant_fitness
    about = "the mean of the labels" if problem.task == "regression" else "the most frequent class"
    return Score("constant", None if fitness is None else to_fitness(problem, fitness), about)
