"""Random changes of the values of images, in units of each channel. Runs in the training process.

Keras's layers for this (`RandomBrightness` and the like) are for 2-D images with values from 0 to 255. Values here keep
their unit: changes are relative to the standard deviation of the channel over the training split, or to the values of
the sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from menndl_dask.change import Change

Tensor = Any  # of the Keras backend
DRAWS = 4  # random numbers from 0 to 1 that each sample has for one change


def changed(
    view: Tensor, change: Change, drawn: Tensor, mean: NDArray[Any], std: NDArray[Any], fine: Sequence[int],
    seeds: keras.random.SeedGenerator,
) -> Tensor:
    """Return a view ``(sample, spatial…, channel)``, each sample changed in its own way, all channels alike.

    Parameters
    ----------
    view
        Images in the unit of the data.
    change
        With a name of ours.
    drawn
        `DRAWS` random numbers ``(sample, number)``, the same for all views.
    mean, std
        Of each channel over the training split.
    fine
        Spatial axes along which images are blurred.
    seeds
        Of noise.
    """
    rank = len(view.shape) - 2
    spatial = list(range(1, rank + 1))
    amount = change.amount
    either = ops.reshape(2.0 * drawn[:, 0] - 1.0, (-1, *(1,) * (rank + 1)))  # from -1 to 1
    if change.name in ("noise", "brightness"):
        unit = ops.convert_to_tensor((amount * std).astype("float32"))
        is_noise = change.name == "noise"
        return view + unit * (keras.random.normal(ops.shape(view), seed=seeds) if is_noise else either)
    if change.name == "cutout":
        return ops.where(_box(view.shape[1:-1], amount, drawn), ops.convert_to_tensor(mean.astype("float32")), view)
    if change.name == "blur":
        return _blurred(view, amount * ops.maximum(either, 0.0), amount, fine)
    factor = ops.exp(math.log1p(amount) * either)
    if change.name == "contrast":
        middle = ops.mean(view, axis=spatial, keepdims=True)
        return middle + factor * (view - middle)
    assert change.name == "gamma", change.name
    low, high = ops.min(view, axis=spatial, keepdims=True), ops.max(view, axis=spatial, keepdims=True)
    span = ops.where(high > low, high - low, ops.ones_like(low))
    return low + span * ops.power((view - low) / span, factor)


def _box(size: Sequence[int], share: float, drawn: Tensor) -> Tensor:
    """Return where ``(sample, spatial…, 1)`` a box at a random place is, which may be partly outside."""
    inside = None
    for axis, pixels in enumerate(size):
        side = max(1, round(share * pixels))
        start = ops.floor(drawn[:, axis + 1] * (pixels + side - 1)) - (side - 1)  # it has at least one pixel inside
        place = ops.arange(pixels, dtype="float32")[None] - start[:, None]
        is_within = ops.logical_and(place >= 0, place < side)
        shape = [-1 if each == axis else 1 for each in range(len(size))]
        is_within = ops.reshape(is_within, (-1, *(pixels if each == -1 else 1 for each in shape), 1))
        inside = is_within if inside is None else ops.logical_and(inside, is_within)
    return inside


def _blurred(view: Tensor, sigma: Tensor, most: float, axes: Sequence[int]) -> Tensor:
    """Return images that are convolved with a Gaussian of each sample's own width, and are mirrored at the edge."""
    sigma = ops.maximum(sigma, 1e-2)  # all weight at the pixel itself
    for axis in axes:
        pixels = view.shape[axis + 1]
        reach = min(math.ceil(3 * most), pixels - 1)
        weights = [ops.exp(-0.5 * (step / sigma) ** 2) for step in range(reach + 1)]
        total = weights[0] + 2.0 * sum(weights[1:])
        padded = ops.take(view, np.pad(np.arange(pixels), reach, mode="symmetric").astype("int32"), axis=axis + 1)
        result = 0.0
        for step in range(-reach, reach + 1):
            part = [slice(None)] * len(view.shape)
            part[axis + 1] = slice(reach + step, reach + step + pixels)
            result = result + weights[abs(step)] / total * padded[tuple(part)]
        view = result
    return view
