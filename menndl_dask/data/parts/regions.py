"""Regions: images, and the parts into which few or single images are divided for the splits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import DataError

SHARES: Mapping[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Default share of the samples, or of the pixels of a divided image, in each split."""

_LEAST = 8  # pixels that a part of a divided image has at least, where the image allows it


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image: pixels ``start`` to ``stop`` along each spatial axis of image number `sample`."""

    sample: int
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return tuple(high - low for low, high in zip(self.start, self.stop, strict=True))


def cut_axis(size: Sequence[int]) -> int:
    """Return the axis along which an image is divided: the longest.

    >>> cut_axis((50, 100, 200))
    2
    """
    return int(np.argmax(size))


def cut(
    length: int, names: Sequence[str], *, least: int = 1, gap: int = 0, profile: NDArray[Any] | None = None
) -> dict[str, tuple[int, int]]:
    """Divide ``0:length`` into neighbouring parts, one for each name, with gaps between them.

    Parts have the lengths of `SHARES`, but at least `least`. Where there is no room, first the gaps become narrower,
    then the parts that are not of the first name.

    Parameters
    ----------
    length
        Pixels along the axis, or number of samples in order.
    names
        Of the splits, the training split first.
    least
        Length that a part has if possible: the side of a patch.
    gap
        Length that is left out between two parts.
    profile
        Number of pixels or samples of each class at each place ``(length, class)``. The parts are put into the order
        in which most of the classes occur in most parts, and then in the most equal shares.

    Returns
    -------
    dict
        First place of each part, and the place after its last.

    Raises
    ------
    DataError
        If there are fewer places than parts.

    Examples
    --------
    >>> cut(200, ("train", "validation", "test"), least=32, gap=16)
    {'train': (0, 104), 'validation': (120, 152), 'test': (168, 200)}
    """
    if length < len(names):
        raise DataError(f"expected at least {len(names)} for {', '.join(names)}, got {length}")
    lengths, gap = _lengths(length, [SHARES[name] for name in names], least, gap)
    best: dict[str, tuple[int, int]] = {}
    best_score: tuple[float, ...] = ()
    for order in permutations(range(len(names))):
        parts, place = {}, 0
        for number in order:
            parts[names[number]] = place, place + lengths[number]
            place += lengths[number] + gap
        score = () if profile is None else _balance([profile[slice(*parts[name])].sum(axis=0) for name in names])
        if not best or score > best_score:
            best, best_score = {name: parts[name] for name in names}, score
    return best


def _lengths(length: int, shares: Sequence[float], least: int, gap: int) -> tuple[list[int], int]:
    """Return the length of each part, and of each gap."""
    number = len(shares)
    floor = min(max(least, 1), length // number)
    gaps = max(1, number - 1)
    half = (length - number * min(floor, _LEAST)) // 2  # of the room that the parts do not need
    gap = min(gap, max(0, half, length - number * floor) // gaps)
    room = length - gap * (number - 1)
    floor = min(floor, room // number)
    others = [max(floor, int(room * share / sum(shares))) for share in shares[1:]]
    return [room - sum(others), *others], gap


def _balance(counts: Sequence[NDArray[Any]]) -> tuple[float, ...]:
    """Return how many classes the parts have, and how far from equal their shares in the parts are, negated."""
    table = np.asarray(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return float((table > 0).sum()), -float(np.abs(shares - shares[0]).sum().round(3))
