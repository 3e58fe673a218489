"""Open labelled images in Zarr as a problem. Runs on the driver.

Data may be larger than memory: labels and images are read in blocks.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from menndl_dask.data.dataset import Dataset, open_dataset
from menndl_dask.data.facts import image_sizes, read_facts, spacing
from menndl_dask.data.keras_names import check_name
from menndl_dask.data.labels import (
    LabelTable,
    divided,
    images_to_divide,
    infer_task,
    is_by_pixel,
    read_labels,
    region_table,
    splits,
)
from menndl_dask.data.parts import patch_size
from menndl_dask.data.splits import Positions
from menndl_dask.data.staged_samples import Samples, open_staged
from menndl_dask.data.staging import stage
from menndl_dask.errors import DataError, UserError, nearest, reading, shortened
from menndl_dask.metric import BUILT_IN, constant_fitness, constant_fitness_of_sums, suits
from menndl_dask.objective import Objectives
from menndl_dask.problem import LARGE_IMAGES, LOSSES, TASKS, Budget, Patches, Problem, read_loss
from menndl_dask.validation import demand_kind, one_of

__all__ = ["Samples", "open_problem", "open_staged", "region_table", "splits", "stage"]

logger = logging.getLogger(__name__)

_LOSSES = (*LOSSES, "mean_squared_error")  # known without asking Keras
_FEWEST_TILES = 8  # of a validation
_TEST_EPOCHS = 20  # as many patches as the test split may have tiles
_RESIZED = 128  # pixels a side at most of images that are resized, unless the user says otherwise


def open_problem(
    data: Any,
    labels: Any = None,
    *,
    store: str | Path | None = None,
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
    constraints: Sequence[str] = (),
    augmentation: str | Sequence[str] = (),
    normalisation: str | None = None,
    patch: int | str | Sequence[int] | None = None,
    patches_per_epoch: int | None = None,
    large_images: str | None = None,
    budget: Budget | None = None,
    seed: int = 0,
) -> Problem:
    """Open labelled images, check them, and return the problem to solve.

    Parameters
    ----------
    data
        Directory or URL of a Zarr store. Or images in memory: an array of shape (sample, y, x), perhaps with a channel
        or a third spatial axis; a list of images of unequal size; a DataArray, whose dimensions say what they are; or
        a Dataset with images and labels. Those are written as a Zarr store first, where workers read them.
    labels
        Labels of images in memory, in their order: a class number or name or other numbers for each image, or an image
        of class numbers for each.
    store
        Path of the store for images in memory; by default ``images-KEY.zarr`` in the current directory, with a key of
        their content. It is written once.
    task
        ``classification``, ``regression`` or ``segmentation``. By default inferred from the labels: one integer per
        sample, other numbers per sample, or one integer per pixel.
    inputs
        Names of the variables with the images, by default ``image``. Several variables are several views of the same
        sample.
    label
        Name of the variable with the labels. Its attributes ``classes`` (class names) and ``fill`` (class number to
        ignore) are used.
    patch
        Pixels of a patch along each spatial axis, or one number for all axes; ``whole`` or 0 for whole images. By
        default pixel labels of large images, of images of unequal size, and of one or two images are learnt from
        patches whose size suits them (see `menndl_dask.data.parts.patch_size`). With ``resize``, the size to which
        images are resized.
    patches_per_epoch
        By default as many as cover the training images once, from 64 to 2048.
    large_images
        As in `Problem`. By default images of unequal size with one label each are resized to their median size, at
        most 128 pixels a side.
    loss, metric, metric_mode, ignore, class_weight, group, objectives, constraints, augmentation, normalisation
    budget, seed
        As in `Problem`. The mode of a built-in metric is known. By default values are clipped if a few of them, far
        outside of the usual range, spoil a channel's standard deviation, and else only normalised.

    Raises
    ------
    DataError
        If the data is not as expected; the message names the variable, the expected and the actual value.
    UserError
        If a setting is not as expected.
    """
    _check_kinds(data, labels, budget, task)
    _check_texts(store=store, label=label, loss=loss, metric=metric, group=group)
    _check_lists(inputs=inputs, augmentation=augmentation, class_weight=class_weight)
    _check_numbers(ignore=ignore, patches_per_epoch=patches_per_epoch, seed=seed)
    Objectives.of(objectives, constraints).check_names()
    if not isinstance(data, (str, os.PathLike)):
        data, label = _stored(data, labels, store), "label"
    path = os.fspath(data)
    names = (inputs,) if isinstance(inputs, str) else tuple(inputs or ("image",))
    with reading(path):  # stores that are damaged lead to any exception
        dataset = open_dataset(path, names, label, group)
        found = infer_task(dataset, task)
        patches, large_images, size = _patches(dataset, found, patch, large_images)
        if patches is not None and is_by_pixel(dataset, found):
            dataset = divided(dataset, patches, ignore)
        elif size:
            dataset = dataset.resized(size)
        labels = _read_labels(dataset, found, ignore, inferred=task is None)
        parts = labels.split(dataset, seed)
        if patches is not None:
            patches = _counted(patches, dataset, parts, patches_per_epoch)
        facts, normalisation = read_facts(dataset, labels, parts, patches, normalisation)
        problem = Problem(
            data=path if "://" in path else str(Path(path).absolute()),
            task=found, facts=facts, inputs=names, label=label, loss=loss, metric=metric,
            metric_mode=BUILT_IN.get(metric or "", metric_mode),
            ignore=labels.ignore,
            class_weight=class_weight if isinstance(class_weight, str) else tuple(class_weight),
            group=group, objectives=tuple(objectives), constraints=tuple(constraints), normalisation=normalisation,
            patches=patches, large_images=large_images,
            augmentation=(augmentation,) if isinstance(augmentation, str) else tuple(augmentation),
            budget=budget or Budget(epochs=10),
            seed=seed,
        )  # fmt: skip
        _check_names(problem, metric_mode)
        return _with_constant_fitness(problem, labels, parts["validation"])


def _read_labels(dataset: Dataset, task: str, ignore: int | None, *, inferred: bool) -> LabelTable:
    """Read the labels; floats without fractions in the pixels may be classes, unless the task is given."""
    labels = read_labels(dataset, task, ignore)
    if inferred and labels.are_whole:
        expected = "class numbers stored as integers, or task regression to predict them as values"
        kind = dataset.label.array.dtype
        raise dataset.label.error(f"expected {expected}, got whole numbers for each pixel stored as {kind}")
    return labels


def _stored(images: Any, labels: Any, store: str | Path | None) -> Path:
    """Write images in memory as a Zarr store and return its path."""
    from menndl_dask.data.formats.arrays import store_of  # Zarr stores need no library of formats

    path, lines = store_of(images, labels, folder=Path(), store=store)
    for line in lines:
        logger.info("%s", line.strip())
    return path


def _check_kinds(data: object, labels: object, budget: object, task: str | None) -> None:
    """Raise `UserError` for labels beside a path, a number in place of a budget, or an unknown task."""
    if isinstance(data, (str, os.PathLike)) and labels is not None:
        raise UserError("labels: expected None beside a path, whose store has them; label names the variable")
    if data is None:
        raise UserError("data: expected the path or URL of a Zarr store, or images in memory, got None")
    if budget is not None and not isinstance(budget, Budget):
        raise UserError(f"budget: expected a Budget, such as Budget(epochs=8), got {shortened(repr(budget))}")
    if task is not None:
        one_of(TASKS).demand("task", task)


def _check_texts(**given: object) -> None:
    for name, value in given.items():
        demand_kind(name, value, (str, os.PathLike, NoneType), "a text or None")


def _check_lists(**given: object) -> None:
    for name, value in given.items():
        if name == "class_weight":
            demand_kind(name, value, (str, list, tuple, np.ndarray), "auto, balanced, sqrt, none or a list of weights")
        else:
            demand_kind(name, value, (str, list, tuple, NoneType), "a list of names")


def _check_numbers(**given: object) -> None:
    for name, value in given.items():
        demand_kind(name, value, (int, np.integer, NoneType), "an integer")


def _with_constant_fitness(problem: Problem, labels: LabelTable, where: Positions) -> Problem:
    """Return the problem with the fitness of the best predictor that ignores the image, at these positions."""
    if labels.sums is not None:
        constant = constant_fitness_of_sums(problem, labels.sums[where].sum(axis=0))
    elif problem.task == "regression":
        constant = constant_fitness(problem, labels.rows[where])
    else:
        constant = constant_fitness(problem, np.arange(labels.outputs), np.asarray(labels.class_counts(where)))
    return replace(problem, facts=replace(problem.facts, constant_fitness=constant))


def _check_names(problem: Problem, metric_mode: str) -> None:
    """Raise `UserError` if the metric or the loss does not suit the task, or Keras does not know it."""
    if metric_mode == "min" and problem.metric_mode == "max":
        raise UserError(f"metric_mode: expected 'max' for {problem.metric}, got {metric_mode!r}")
    built_in = [name for name in BUILT_IN if suits(name, problem.task)]
    if not suits(problem.metric_name, problem.task):
        known = ", ".join(built_in)
        raise UserError(f"metric: expected for {problem.task} one of {known} or one of Keras, got {problem.metric!r}")
    check_name("metric", problem.metric_name, built_in, problem.budget.backend)
    check_name("loss", read_loss(problem.loss_name)[0], _LOSSES, problem.budget.backend)


def _patches(
    dataset: Dataset, task: str, patch: int | str | Sequence[int] | None, large_images: str | None
) -> tuple[Patches | None, str | None, tuple[int, ...]]:
    """Return the patches, the way for large images, and the size to which images are resized, by rule or as given."""
    view = dataset.views[0]
    given = None if patch is None else patch_size.read_patch(patch, view.rank)
    if large_images is not None and large_images not in LARGE_IMAGES:
        hint = nearest(large_images, LARGE_IMAGES)
        raise UserError(f"large_images: expected one of {', '.join(LARGE_IMAGES)}, got {large_images!r}{hint}")
    if is_by_pixel(dataset, task):
        if large_images is not None:
            raise UserError("large_images: expected a label for each image, got one for each pixel; it has patches")
        return _segmentation_patches(dataset, patch is not None, given), None, ()
    if large_images == "vote" and task == "regression":
        raise UserError("large_images: expected mean or resize for regression, got 'vote'")
    if large_images is None and not dataset.is_uniform:
        if patch is not None and given is None:
            raise _unequal(dataset)
        large_images = "resize"
    if large_images is None:
        if given is not None:
            raise UserError("patch: expected large_images (vote, mean or resize) with it for a label for each image")
        return None, None, ()
    if large_images == "resize":
        median = image_sizes(view)[1]
        size = given or tuple(min(side, _RESIZED) for side in median)
        logger.info("%s: images are resized to %s pixels", dataset.path, "×".join(map(str, size)))
        return None, large_images, size
    _check_equal_views(dataset)
    return _sized(dataset, given, None), large_images, ()


def _segmentation_patches(dataset: Dataset, is_given: bool, given: tuple[int, ...] | None) -> Patches | None:
    view = dataset.views[0]
    pool, _ = images_to_divide(dataset)
    if is_given and given is None:
        if not dataset.is_uniform or dataset.is_single:
            raise _unequal(dataset)
        return None
    are_alike = len({v.size(0) for v in dataset.views}) == 1
    small = math.prod(view.size(0)) <= patch_size.WHOLE[view.rank]
    if not is_given and dataset.is_uniform and not pool and (small or not are_alike):
        return None
    _check_equal_views(dataset)
    longest = [max(view.size(image)) for image in pool]
    return _sized(dataset, given, min(longest, default=None))


def _sized(dataset: Dataset, given: tuple[int, ...] | None, divided: int | None) -> Patches:
    view = dataset.views[0]
    smallest, median, _ = image_sizes(view)
    if given:
        return Patches(size=given, gap=tuple(side // 2 for side in given))
    choose = partial(patch_size.choose_patch, smallest, median, spacing(view), divided=divided)
    return Patches(size=choose(), gap=tuple(side // 2 for side in choose(for_parts=True)))


def _counted(patches: Patches, dataset: Dataset, parts: dict[str, Positions], patches_per_epoch: int | None) -> Patches:
    """Return the patches with their number in an epoch, and the most tiles of a validation and of the test."""
    view = dataset.views[0]
    pixels = sum(math.prod(view.size(int(region))) for region in parts["train"])
    number = patches_per_epoch or patch_size.patches_per_epoch(pixels, patches.size)
    most = {"validation": max(_FEWEST_TILES, number // 2), "test": _TEST_EPOCHS * number}
    tiles = {
        split: patch_size.most_tiles([view.size(int(region)) for region in parts[split]], patches.size, limit)
        for split, limit in most.items()
    }
    return replace(patches, per_epoch=number, validation_tiles=tiles["validation"], test_tiles=tiles["test"])


def _unequal(dataset: Dataset) -> DataError:
    view = dataset.views[0]
    if dataset.is_single:
        return view.error("patch: expected images enough to train on whole ones, got one; leave the option out")
    smallest, _, largest = image_sizes(view)
    return view.error(f"patch: expected images of one size to train on whole ones, got {smallest} to {largest} pixels")


def _check_equal_views(dataset: Dataset) -> None:
    first = dataset.views[0]
    for view in dataset.views[1:]:
        for size, expected in zip(view.sizes(), first.sizes(), strict=True):
            if size != expected:
                raise view.error(f"expected {expected} pixels as in {first.name}, to draw patches of both, got {size}")
