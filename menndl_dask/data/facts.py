"""The facts of a problem: sizes, statistics of the training split, spacing. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.dataset import Dataset
from menndl_dask.data.labels import LabelTable
from menndl_dask.data.splits import Positions
from menndl_dask.data.store.variable import Variable, blocks
from menndl_dask.moments import Moments
from menndl_dask.problem import SPLITS, Facts, Patches

_MOST_VALUES = 2**30  # of a view, read for its mean and variance
_QUANTILE_VALUES = 2_000_000  # of a channel, for percentiles
_PERCENTILES = (0.5, 99.5)
_EVEN = 1e-3  # relative difference between the largest and the smallest step of evenly spaced coordinates

Clip = tuple[tuple[float, float], ...]


def read_facts(
    dataset: Dataset,
    labels: LabelTable,
    parts: dict[str, Positions],
    patches: Patches | None,
    normalisation: str,
) -> Facts:
    """Read the facts of a problem, the constant fitness excepted.

    Raises
    ------
    DataError
        If a channel has no numbers, or such that it cannot be normalised.
    """
    train = parts["train"]
    clip = tuple(_percentiles(view, train) for view in dataset.views) if normalisation == "clip" else ()
    of_views = [_moments(view, train, clip[i] if clip else ()) for i, view in enumerate(dataset.views)]
    values = labels.rows[train] if labels.task == "regression" else np.zeros((1, 0))
    train_samples, validation_samples, test_samples = (len(parts[name]) for name in SPLITS)
    view = dataset.views[0]
    return Facts(
        input_shapes=tuple((*(patches.size if patches else v.size(0)), v.channels) for v in dataset.views),
        outputs=labels.outputs,
        classes=labels.classes,
        class_counts=() if labels.task == "regression" else labels.class_counts(train),
        samples=(train_samples, validation_samples, test_samples),
        mean=tuple(tuple(m.mean.tolist()) for m in of_views),
        variance=tuple(tuple(m.variance.tolist()) for m in of_views),
        label_mean=tuple(values.mean(axis=0).tolist()),
        label_variance=tuple(values.var(axis=0).tolist()),
        clip=clip,
        image_sizes=image_sizes(view) if patches or view.resized else (),
        spacing=spacing(view),
        fingerprint=dataset.fingerprint(),
    )


def image_sizes(view: Variable) -> tuple[tuple[int, ...], ...]:
    """Return the pixels along each spatial axis of the smallest, the median and the largest image of the store.

    Each axis by itself.
    """
    number = view.images_stored if view.shapes else 1
    sizes = np.array([view.stored_size(image) for image in range(number)])
    rows = sizes.min(axis=0), np.sort(sizes, axis=0)[number // 2], sizes.max(axis=0)
    return tuple(tuple(row.tolist()) for row in rows)


def spacing(view: Variable) -> tuple[float, ...]:
    """Return the size of a pixel along each spatial axis, empty if it is not known.

    It is the attribute ``spacing``, else it follows from evenly spaced coordinates.

    Raises
    ------
    DataError
        If the attribute is not one number > 0 for each spatial axis.
    """
    dims = [str(view.array.dims[axis]) for axis in view.axes.spatial]
    given = view.array.attrs.get("spacing")
    if given is not None:
        try:
            sizes = tuple(float(value) for value in np.atleast_1d(np.asarray(given, dtype=np.float64)))
        except (TypeError, ValueError):
            sizes = ()
        if len(sizes) != len(dims) or not all(0 < size < math.inf for size in sizes):
            expected = f"{len(dims)} numbers > 0, for {', '.join(dims)}"
            raise view.error(f"attribute 'spacing': expected {expected}, got {given!r}")
        order = [axis for axis in range(view.array.ndim) if axis in view.axes.spatial]  # as stored
        return tuple(sizes[order.index(axis)] for axis in view.axes.spatial)
    found = [_step(view, dim) for dim in dims]
    return tuple(step for step in found if step) if all(found) else ()


def _step(view: Variable, dim: str) -> float | None:
    if dim not in view.array.coords:
        return None
    values = view.array[dim].values
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return None
    steps = np.abs(np.diff(values.astype(np.float64)))
    even = np.isfinite(steps).all() and steps.max() - steps.min() <= _EVEN * steps.max() and steps.min() > 0
    return float(np.abs(float(values[-1]) - float(values[0])) / (len(values) - 1)) if even else None


def _training_blocks(view: Variable, train: Positions) -> Iterator[NDArray[Any]]:
    """Yield blocks of values of the training split, ``(pixel, channel)``; evenly spaced ones of a very large one."""
    wanted = np.zeros(view.samples, dtype=np.bool_)
    wanted[train] = True
    bounds = [block for block in blocks(view) if wanted[block.start : block.stop].any()]
    values = sum(math.prod(view.shape_of(int(sample))) for sample in train)
    every = max(1, -(-values // _MOST_VALUES))
    for block in bounds[:: min(every, max(1, len(bounds) // 2))]:
        yield view.images(block)[wanted[block.start : block.stop]]


def _moments(view: Variable, train: Positions, clip: Clip = ()) -> Moments:
    """Return mean and variance of each channel of a view over the training split; of a part if it is very large."""
    moments = Moments(view.channels)
    for values in _training_blocks(view, train):
        moments.update(np.clip(values, *np.array(clip).T) if clip else values)
    for channel, (mean, count) in enumerate(zip(moments.mean, moments.count, strict=True)):
        where = "" if len(moments.mean) == 1 else f"channel {channel}: "
        if not count:
            raise view.error(f"{where}expected numbers in the training split, got only NaN")
        if not np.isfinite(mean):
            extremes = f"{moments.minimum[channel]:g} to {moments.maximum[channel]:g}"
            raise view.error(f"{where}expected finite values, got {extremes}")
    return moments


def _percentiles(view: Variable, train: Positions) -> Clip:
    """Return the percentiles of each channel in a bounded sample of the training split's values."""
    drawn = list(_training_samples(view, train))
    values = np.concatenate(drawn) if drawn else np.zeros((0, view.channels))
    found = []
    for column in values.T:
        known = column[np.isfinite(column)]
        low, high = np.percentile(known, _PERCENTILES) if len(known) else (0.0, 0.0)
        found.append((float(low), float(high)))
    return tuple(found)


def _training_samples(view: Variable, train: Positions) -> Iterator[NDArray[np.float64]]:
    """Yield an evenly spaced share of the values of the training split, ``(pixel, channel)``."""
    pixels = sum(math.prod(view.size(int(sample))) for sample in train)
    step = max(1, pixels // _QUANTILE_VALUES) | 1  # odd, so that it does not meet the same column again and again
    for values in _training_blocks(view, train):
        yield values.reshape(-1, view.channels)[::step].astype(np.float64)
