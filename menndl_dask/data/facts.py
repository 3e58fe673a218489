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
from menndl_dask.moments import Moments, far_value, is_far, usual_range
from menndl_dask.problem import SPLITS, Facts, Patches

_MOST_VALUES = 2**29  # of a view, read for its mean and variance
_DRAWN_VALUES = 500_000  # of a channel, for percentiles
_LARGEST = float(np.finfo(np.float32).max)
_RARE = 1e-4  # share of the values up to which those far outside are taken for errors
_SPOILED = 3.0  # ratio of the standard deviation with such values to that without
_RESOLUTION = 1e-6  # of float32 values after a network's first layer
_EVEN = 1e-3  # relative difference between the largest and the smallest step of evenly spaced coordinates

Clip = tuple[tuple[float, float], ...]


def read_facts(
    dataset: Dataset,
    labels: LabelTable,
    parts: dict[str, Positions],
    patches: Patches | None,
    normalisation: str | None,
) -> tuple[Facts, str]:
    """Read the facts of a problem, the constant fitness excepted, and choose the normalisation if None is given.

    It is ``clip`` if a few values far outside of its usual range spoil a channel, else ``channel``.

    Raises
    ------
    DataError
        If a channel has no numbers, or such that it cannot be normalised.
    """
    train = parts["train"]
    read = [_Channels(view, train) for view in dataset.views]
    for channels in read:
        channels.check()
    if normalisation is None:
        normalisation = "clip" if any(channels.are_spoiled for channels in read) else "channel"
    clip = tuple(channels.clip() for channels in read) if normalisation == "clip" else ()
    of_views = [c.clipped(clip[i]) if clip else c.moments for i, c in enumerate(read)]
    label_mean, label_variance = labels.moments(train)
    train_samples, validation_samples, test_samples = (len(parts[name]) for name in SPLITS)
    view = dataset.views[0]
    facts = Facts(
        input_shapes=tuple((*(patches.size if patches else v.size(0)), v.channels) for v in dataset.views),
        outputs=labels.outputs,
        classes=labels.classes,
        class_counts=() if labels.task == "regression" else labels.class_counts(train),
        samples=(train_samples, validation_samples, test_samples),
        mean=tuple(tuple(m.mean.tolist()) for m in of_views),
        variance=tuple(tuple(m.variance.tolist()) for m in of_views),
        label_mean=label_mean,
        label_variance=label_variance,
        pixel_values=labels.sums is not None,
        clip=clip,
        image_sizes=image_sizes(view) if patches or view.resized else (),
        spacing=spacing(view),
        fingerprint=dataset.fingerprint(),
    )
    return facts, normalisation


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


class _Channels:
    """Moments of the training split's values of a view, and an evenly spaced sample of them, read in one pass.

    Of a very large view a part is read.
    """

    def __init__(self, view: Variable, train: Positions) -> None:
        self._view, self._train = view, train
        self.moments = Moments(view.channels)
        pixels = sum(math.prod(view.size(int(sample))) for sample in train)
        step = max(1, pixels // _DRAWN_VALUES) | 1  # odd, so that it does not meet the same column again and again
        drawn = []
        for values in self._blocks(pixels * view.channels):
            self.moments.update(values)
            drawn.append(values.reshape(-1, view.channels)[::step].astype(np.float64))
        self.sample: NDArray[np.float64] = np.concatenate(drawn) if drawn else np.zeros((0, view.channels))

    def _blocks(self, number: int) -> Iterator[NDArray[Any]]:
        view = self._view
        wanted = np.zeros(view.samples, dtype=np.bool_)
        wanted[self._train] = True
        bounds = [block for block in blocks(view) if wanted[block.start : block.stop].any()]
        every = max(1, -(-number // _MOST_VALUES))
        for block in bounds[:: min(every, max(1, len(bounds) // 2))]:  # evenly spaced
            yield view.images(block)[wanted[block.start : block.stop]]

    def check(self) -> None:
        """Raise `DataError` if a channel has no numbers, or such that networks cannot see the differences."""
        moments = self.moments
        for channel, column in enumerate(self.sample.T):
            where = "" if len(self.sample.T) == 1 else f"channel {channel}: "
            if not moments.count[channel]:
                raise self._view.error(f"{where}expected numbers in the training split, got only NaN")
            far, variance = far_value(column), float(moments.variance[channel])
            fits = math.isfinite(variance) and variance <= _LARGEST
            if fits and (far is None or far.high - far.low > _RESOLUTION * math.sqrt(variance)):
                continue
            raise self._view.error(f"{where}{_extreme(column, moments, channel)}")

    def clip(self) -> Clip:
        """Return the percentiles 0.5 and 99.5 of each channel, all values where they are equal, as of rare spots."""
        ranges = [usual_range(column) for column in self.sample.T]
        extremes = zip(self.moments.minimum.tolist(), self.moments.maximum.tolist(), strict=True)
        return tuple(usual if usual[0] < usual[1] else whole for usual, whole in zip(ranges, extremes, strict=True))

    def clipped(self, clip: Clip) -> Moments:
        """Return the moments of the clipped values of the sample."""
        moments = Moments(self._view.channels)
        moments.update(np.clip(self.sample, *np.array(clip).T))
        return moments

    @property
    def are_spoiled(self) -> bool:
        """Whether a few values far outside of the usual range, such as hot pixels, rule a channel's standard deviation.

        Less rare ones may be what is looked for, such as bright spots, and are kept.
        """
        clip = self.clip()
        variance = self.clipped(clip).variance
        for channel, column in enumerate(self.sample.T):
            extremes = float(self.moments.minimum[channel]), float(self.moments.maximum[channel])
            if any(is_far(value, *clip[channel]) for value in extremes):
                beyond = np.sort(np.maximum(column - clip[channel][1], clip[channel][0] - column))
                often = is_far(clip[channel][1] + float(beyond[-1 - max(1, int(_RARE * len(column)))]), *clip[channel])
                if not often and self.moments.variance[channel] > _SPOILED**2 * variance[channel]:
                    return True
        return False


def _extreme(column: NDArray[np.float64], moments: Moments, channel: int) -> str:
    """Say which extreme value makes a channel unfit for networks."""
    low, high = float(moments.minimum[channel]), float(moments.maximum[channel])
    known = column[~np.isnan(column)]
    value = max((low, high), key=lambda v: ((known == v).mean(), abs(v)))
    if low == high or not len(known):
        return f"expected finite values, got {low:g} to {high:g}"
    others = known[known != value]
    between = f"; the others are {others.min():.4g} to {others.max():.4g}" if len(others) else ""
    share = max((known == value).mean(), 1 / max(1, int(moments.count[channel])))
    return (
        f"expected values whose differences a float32 can hold, got {value:.4g} in {share:.2g} of the pixels{between}: "
        "no data? write NaN, or give the value as attribute 'nodata' (menndl convert --nodata)"
    ).replace(f"{share:.2g} of", f"{100 * share:.2g} % of")
