"""Open labelled images in Zarr as a problem. Runs on the driver.

Data may be larger than memory: labels and images are read in blocks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from menndl_dask.data.dataset import Dataset, Variable, blocks, open_dataset
from menndl_dask.data.keras_names import check_name
from menndl_dask.data.labels import LabelTable, infer_task, read_labels, splits
from menndl_dask.data.splits import Positions, within
from menndl_dask.data.staged_samples import Samples, open_staged
from menndl_dask.data.staging import stage
from menndl_dask.errors import UserError, nearest
from menndl_dask.metric import BUILT_IN, constant_fitness, suits
from menndl_dask.moments import Moments
from menndl_dask.problem import LOSSES, SPLITS, TASKS, Budget, Facts, Problem, read_loss

__all__ = ["Samples", "open_problem", "open_staged", "splits", "stage"]

_LOSSES = (*LOSSES, "mean_squared_error")  # known without asking Keras
_MOST_VALUES = 2**30  # of a view, read for its mean and variance


def open_problem(
    data: str | Path,
    *,
    task: str | None = None,
    inputs: str | Sequence[str] | None = None,
    label: str = "label",
    loss: str | None = None,
    metric: str | None = None,
    metric_mode: str = "max",
    ignore: int | None = None,
    class_weight: str | Sequence[float] = "auto",
    group: str | None = None,
    objectives: Sequence[str] = ("fitness",),
    augmentation: str | Sequence[str] = (),
    budget: Budget | None = None,
    seed: int = 0,
) -> Problem:
    """Open labelled images in a Zarr store, check them, and return the problem to solve.

    Parameters
    ----------
    data
        Directory or URL of the Zarr store.
    task
        ``classification``, ``regression`` or ``segmentation``. By default inferred from the labels: one integer per
        sample, other numbers per sample, or one integer per pixel.
    inputs
        Names of the variables with the images, by default ``image``. Several variables are several views of the same
        sample.
    label
        Name of the variable with the labels. Its attributes ``classes`` (class names) and ``fill`` (class number to
        ignore) are used.
    loss, metric, metric_mode, ignore, class_weight, group, objectives, augmentation, budget, seed
        As in `Problem`. The mode of a built-in metric is known.

    Raises
    ------
    DataError
        If the data is not as expected; the message names the variable, the expected and the actual value.
    UserError
        If a setting is not as expected.
    """
    path = os.fspath(data)
    names = (inputs,) if isinstance(inputs, str) else tuple(inputs or ("image",))
    if task is not None and task not in TASKS:
        raise UserError(f"task: expected one of {', '.join(TASKS)}, got {task!r}{nearest(task, TASKS)}")
    dataset = open_dataset(path, names, label, group)
    found = infer_task(dataset, task)
    labels = read_labels(dataset, found, ignore)
    parts = labels.split(dataset, seed)
    problem = Problem(
        data=path if "://" in path else str(Path(path).absolute()),
        task=found,
        facts=_facts(dataset, labels, parts),
        inputs=names,
        label=label,
        loss=loss,
        metric=metric,
        metric_mode=BUILT_IN.get(metric or "", metric_mode),
        ignore=labels.ignore,
        class_weight=class_weight if isinstance(class_weight, str) else tuple(class_weight),
        group=group,
        objectives=tuple(objectives),
        augmentation=(augmentation,) if isinstance(augmentation, str) else tuple(augmentation),
        budget=budget or Budget(epochs=10),
        seed=seed,
    )
    if metric_mode == "min" and problem.metric_mode == "max":
        raise UserError(f"metric_mode: expected 'max' for {metric}, got {metric_mode!r}")
    built_in = [name for name in BUILT_IN if suits(name, found)]
    if not suits(problem.metric_name, found):
        known = ", ".join(built_in)
        raise UserError(f"metric: expected for {found} one of {known} or one of Keras, got {metric!r}")
    check_name("metric", problem.metric_name, built_in, problem.budget.backend)
    check_name("loss", read_loss(problem.loss_name)[0], _LOSSES, problem.budget.backend)
    where = parts["validation"]
    if found == "regression":
        constant = constant_fitness(problem, labels.rows[where])
    else:
        constant = constant_fitness(problem, np.arange(labels.outputs), np.asarray(labels.class_counts(where)))
    return replace(problem, facts=replace(problem.facts, constant_fitness=constant))


def _facts(dataset: Dataset, labels: LabelTable, parts: dict[str, Positions]) -> Facts:
    train = parts["train"]
    of_views = [_moments(view, train) for view in dataset.views]
    values = labels.rows[train] if labels.task == "regression" else np.zeros((1, 0))
    train_samples, validation_samples, test_samples = (len(parts[name]) for name in SPLITS)
    return Facts(
        input_shapes=tuple((*v.shape, *((1,) if v.axes.channel is None else ())) for v in dataset.views),
        outputs=labels.outputs,
        classes=labels.classes,
        class_counts=() if labels.task == "regression" else labels.class_counts(train),
        samples=(train_samples, validation_samples, test_samples),
        mean=tuple(tuple(m.mean.tolist()) for m in of_views),
        variance=tuple(tuple(m.variance.tolist()) for m in of_views),
        label_mean=tuple(values.mean(axis=0).tolist()),
        label_variance=tuple(values.var(axis=0).tolist()),
        fingerprint=dataset.fingerprint(),
    )


def _moments(view: Variable, train: Positions) -> Moments:
    """Return mean and variance of each channel of a view over the training split; of a part if it is very large."""
    moments = Moments(1 if view.axes.channel is None else view.shape[-1])
    bounds = list(blocks(view))
    step = max(1, -(-view.samples * math.prod(view.shape) // _MOST_VALUES))
    for start, stop in bounds[:: min(step, max(1, len(bounds) // 2))]:  # evenly spaced
        inside = within(train, start, stop)
        if len(inside):
            moments.update(view.images(start, stop)[inside])
    for channel, (mean, count) in enumerate(zip(moments.mean, moments.count, strict=True)):
        where = "" if len(moments.mean) == 1 else f"channel {channel}: "
        if not count:
            raise view.error(f"{where}expected numbers in the training split, got only NaN")
        if not np.isfinite(mean):
            extremes = f"{moments.minimum[channel]:g} to {moments.maximum[channel]:g}"
            raise view.error(f"{where}expected finite values, got {extremes}")
    return moments
