"""Count, mean, variance and range of a stream of values, in constant memory. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RESOLUTION = 1e-7  # of a float32, relative to its value
_AT_ONCE = 2**20  # values that are float64 at a time
_USUAL = (0.005, 0.995)  # quantiles of the usual range
_FAR = 10.0  # usual ranges
_MOST_FAR = 0.5  # share of values that are equal and far from the others
_SMALLEST = 1e-37  # a smaller standard deviation is no float32 with all its digits


def is_constant(mean: float, variance: float) -> bool:
    """Return whether values do not differ, as far as float32 can tell; this does not depend on their unit.

    >>> is_constant(3e-9, 1e-18), is_constant(300.0, 1e-12), is_constant(0.0, 0.0)
    (False, True, True)
    """
    return math.sqrt(variance) <= max(_RESOLUTION * abs(mean), _SMALLEST)


def scale_of(means: Iterable[float], variances: Iterable[float]) -> tuple[float, ...]:
    """Return the standard deviation of each channel, by which it is divided; 1 for a constant one.

    >>> scale_of([3e-9, 5.0], [4e-18, 0.0])
    (2e-09, 1.0)
    """
    pairs = zip(means, variances, strict=True)
    return tuple(1.0 if is_constant(mean, variance) else math.sqrt(variance) for mean, variance in pairs)


@dataclass(frozen=True, slots=True)
class FarValue:
    """A value that lies far from all others, as a mark of missing values does.

    Parameters
    ----------
    value
        The value.
    share
        Of the values that are equal to it, 0 to 1.
    low, high
        The percentiles 0.5 and 99.5 of the others.
    """

    value: float
    share: float
    low: float
    high: float


def finite_or_nan(values: NDArray[Any]) -> NDArray[Any]:
    """Return values with NaN in place of infinite ones, as divisions by zero leave them: they are no measurements.

    >>> finite_or_nan(np.array([1.0, -np.inf])).tolist()
    [1.0, nan]
    """
    if values.dtype.kind != "f" or not (infinite := np.isinf(values)).any():
        return values
    return np.where(infinite, np.asarray(np.nan, values.dtype), values)


def usual_range(values: Floats) -> tuple[float, float]:
    """Return the percentiles 0.5 and 99.5 of some values; NaN is left out.

    >>> usual_range(np.arange(1001.0))
    (5.0, 995.0)
    """
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, _USUAL, method="inverted_cdf") if len(known) else (math.nan, math.nan)
    return float(low), float(high)


def is_far(value: float, low: float, high: float) -> bool:
    """Return whether a value lies more than ten widths of the usual range outside of it."""
    reach = _FAR * (high - low)
    return math.isfinite(reach) and reach > 0 and not low - reach <= value <= high + reach


def far_value(values: Floats) -> FarValue | None:
    """Return the lowest or highest of some values if it lies far from the others, however frequent it is, else None.

    The others must be more than half of all. NaN is left out.

    >>> far_value(np.concatenate([np.full(30, -9999.0), np.arange(70.0)]))
    FarValue(value=-9999.0, share=0.3, low=0.0, high=69.0)
    """
    known = values[~np.isnan(values)]
    found = []
    for value in {known.min(), known.max()} if len(known) else ():
        others = known[known != value]
        share = 1 - len(others) / len(known)
        low, high = usual_range(others)
        if share <= _MOST_FAR and is_far(value, low, high):
            found.append(FarValue(float(value), round(share, 12), low, high))
    return max(found, key=lambda far: far.share, default=None)


class Moments:
    """Mean and variance of each channel, the last axis of every block, updated block by block; NaN counts as missing.

    Blocks are merged by the pairwise update of Chan, Golub & LeVeque (1983), which stays exact where the mean is large
    and the variance small.

    >>> moments = Moments(1)
    >>> moments.update(np.array([[1.0], [np.nan]]))
    >>> moments.update(np.array([[3.0]]))
    >>> moments.mean.item(), moments.variance.item(), moments.missing.item()
    (2.0, 1.0, 1)
    """

    def __init__(self, channels: int) -> None:
        self.count = np.zeros(channels, dtype=np.int64)
        self.missing = np.zeros(channels, dtype=np.int64)
        self.mean: Floats = np.zeros(channels)
        self.squares: Floats = np.zeros(channels)
        self.minimum: Floats = np.full(channels, np.inf)
        self.maximum: Floats = np.full(channels, -np.inf)

    def update(self, values: NDArray[Any]) -> None:
        """Add a block of values ``(…, channel)``."""
        flat = np.asarray(values).reshape(-1, len(self.count))
        for channel in range(len(self.count)):  # one contiguous column after the other: less memory, and faster
            for first in range(0, len(flat), _AT_ONCE):
                column = flat[first : first + _AT_ONCE, channel].astype(np.float64)
                absent = np.isnan(column)
                known = column[~absent] if absent.any() else column
                self.missing[channel] += len(column) - len(known)
                if len(known):
                    self._merge(channel, known)

    def _merge(self, channel: int, known: Floats) -> None:
        self.minimum[channel] = min(self.minimum[channel], known.min())
        self.maximum[channel] = max(self.maximum[channel], known.max())
        with np.errstate(invalid="ignore"):  # infinite values: the mean is no finite number, which the caller sees
            mean = known.mean()
            known = known - mean
            step = mean - self.mean[channel]
            before, total = self.count[channel], self.count[channel] + len(known)
            self.squares[channel] += known @ known + step**2 * before * len(known) / total
            self.mean[channel] += step * len(known) / total
        self.count[channel] = total

    @property
    def variance(self) -> Floats:
        """Variance of each channel; 0 without values."""
        return self.squares / np.maximum(self.count, 1)
