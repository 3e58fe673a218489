"""Windows over a large image that has one label, and what a network's predictions for them say of the image. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def window_starts(size: Sequence[int], window: Sequence[int], most: int | None = None) -> NDArray[np.int64]:
    """Return the first pixel of each window ``(window, axis)``: as few as cover the image, evenly spaced.

    Along an axis on which the image is smaller than a window, the window starts before the image, which is in its
    middle. With `most`, at most so many of the windows are returned, at least one, evenly spaced among all.

    >>> window_starts((10, 3), (4, 5)).tolist()
    [[0, -1], [3, -1], [6, -1]]
    """
    counts = [max(1, -(-pixels // side)) for pixels, side in zip(size, window, strict=True)]
    total = math.prod(counts)
    chosen = evenly_spaced(total, total if most is None else most)
    starts = [_starts(*each) for each in zip(size, window, counts, strict=True)]
    places = np.unravel_index(chosen, counts)
    return np.stack([along[place] for along, place in zip(starts, places, strict=True)], axis=1)


def evenly_spaced(total: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of the numbers from 0 to ``total - 1``, at least one, evenly spaced.

    >>> evenly_spaced(10, 3).tolist()
    [1, 5, 8]
    """
    count = max(1, min(total, most))
    return (np.arange(count) * 2 + 1) * total // (2 * count)


def pooled(predictions: Array, how: str) -> Array:
    """Return the prediction for an image from those for its windows, ``(window, class or value)``.

    With ``mean`` that is their mean. With ``vote`` it is the share of the windows for which a class is the most likely
    one; where two classes have equally many windows, the mean of their probabilities decides.

    >>> pooled(np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]), "vote").argmax().item()
    1
    """
    mean: Array = predictions.mean(axis=0, dtype=np.float64)
    if how == "vote":
        votes = np.bincount(predictions.argmax(axis=-1), minlength=predictions.shape[-1])
        mean = (votes + mean / 2) / (len(predictions) + mean.sum() / 2)  # less than a vote
    return mean.astype(np.float32)


def _starts(size: int, window: int, count: int) -> NDArray[np.int64]:
    if size <= window:
        return np.full(1, (size - window) // 2)
    return np.linspace(0, size - window, count).round().astype(np.int64)
