"""Count, mean, variance and range of a stream of values, in constant memory. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Moments:
    """Mean and variance of each channel, gathered block by block; NaN counts as missing and for nothing else.

    Blocks are merged by the pairwise update of Chan, Golub & LeVeque (1983), which stays exact where the mean is large
    and the variance small.

    Parameters
    ----------
    channels
        Length of the last axis of every block.

    Examples
    --------
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
        flat = np.asarray(values).reshape(-1, len(self.count)).astype(np.float64)
        if not len(flat):
            return
        absent = np.isnan(flat)
        known = len(flat) - absent.sum(axis=0)
        self.missing += len(flat) - known
        self.minimum = np.minimum(self.minimum, np.where(absent, np.inf, flat).min(axis=0))
        self.maximum = np.maximum(self.maximum, np.where(absent, -np.inf, flat).max(axis=0))
        flat[absent] = 0.0
        divisor = np.maximum(known, 1)
        with np.errstate(invalid="ignore"):  # infinite values: the mean is no number, which the caller sees
            mean = flat.sum(axis=0) / divisor
            flat -= mean
            flat[absent] = 0.0
            self._merge(known, mean, np.einsum("nc,nc->c", flat, flat))

    def _merge(self, known: NDArray[np.int64], mean: Floats, squares: Floats) -> None:
        total = self.count + known
        share = known / np.maximum(total, 1)
        step = mean - self.mean
        self.squares += squares + step**2 * self.count * share
        self.mean = self.mean + step * share
        self.count = total

    @property
    def variance(self) -> Floats:
        """Variance of each channel; 0 where there is no value."""
        return self.squares / np.maximum(self.count, 1)
