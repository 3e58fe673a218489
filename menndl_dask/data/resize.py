"""Resize images: means of areas where they shrink, linear interpolation where they grow. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]


def resize(image: NDArray[Any], size: Sequence[int]) -> NDArray[np.float32]:
    """Return an image ``(spatial…, channel)`` with another number of pixels along each spatial axis.

    Along an axis that becomes shorter, a new pixel is the mean of the part of the image that it covers; along one that
    becomes longer, values are interpolated linearly between the centres of pixels. Missing values (NaN) are left out; a
    new pixel of missing values only is NaN.

    >>> resize(np.arange(6.0).reshape(6, 1), (2,)).ravel().tolist()
    [1.0, 4.0]
    >>> resize(np.array([[0.0], [1.0]]), (4,)).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    weights = [resize_weights(before, after) for before, after in zip(image.shape[:-1], size, strict=True)]
    values = image.astype(np.float64)
    known = ~np.isnan(values)
    values[~known] = 0
    return weighted_mean(weigh(values, weights), weigh(known.astype(np.float64), weights))


def resize_weights(before: int, after: int) -> Weights:
    """Return the weight of each old pixel in each new one, ``(after, before)``, along one axis; rows add up to 1.

    >>> resize_weights(3, 2).round(2).tolist()
    [[0.67, 0.33, 0.0], [0.0, 0.33, 0.67]]
    """
    weights = np.zeros((after, before))
    if after < before:
        edges = np.linspace(0, before, after + 1)
        for row in range(after):
            low, high = edges[row], edges[row + 1]
            inside = np.arange(int(low), min(before, int(np.ceil(high))))
            weights[row, inside] = np.minimum(inside + 1, high) - np.maximum(inside, low)
    else:
        centres = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
        left = np.minimum(centres.astype(np.int64), max(before - 2, 0))
        right = np.minimum(left + 1, before - 1)
        rows = np.arange(after)
        np.add.at(weights, (rows, left), 1 - (centres - left))
        np.add.at(weights, (rows, right), centres - left)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def weigh(values: NDArray[np.float64], weights: Sequence[Weights]) -> NDArray[np.float64]:
    """Return the weighted sums of values ``(spatial…, channel)`` along each spatial axis."""
    for axis, weight in enumerate(weights):
        values = np.moveaxis(np.tensordot(weight, values, (1, axis)), 0, axis)
    return values


def weighted_mean(total: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return sums divided by the sums of their weights; NaN without weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 1e-9, total / weight, np.nan).astype(np.float32)
