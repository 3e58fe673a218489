"""Boundaries between numbered objects, as classes of pixels. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.samples import Region, Samples

_NO_LABEL = 255


@dataclass(frozen=True)
class Boundaries:
    """Samples of numbered objects as class 1 near another number and 0 elsewhere.

    Near is at most `width` steps between pixels that share a side. Pixels with the number `fill` get 255.
    """

    samples: Samples
    width: int = 1
    fill: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.samples.size(number)

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``; it is read with a margin of the width."""
        size = self.samples.size(start)
        margin = tuple(
            slice(max(0, part.start - self.width), min(length, part.stop + self.width))
            for part, length in zip(region, size, strict=True)
        )
        numbers = self.samples.read(start, stop, margin)
        found = boundaries(numbers, self.width, self.fill)
        if self.fill is not None:
            found[numbers == self.fill] = _NO_LABEL
        inner = (slice(p.start - m.start, p.stop - m.start) for p, m in zip(region, margin, strict=True))
        return found[(slice(None), *inner)]


def boundaries(numbers: NDArray[Any], width: int = 1, fill: int | None = None) -> NDArray[np.uint8]:
    """Return 1 for pixels at most `width` steps from another number, else 0; the first axis is the samples.

    The number `fill` stands for no label, and is no other number.

    >>> boundaries(np.array([[3, 3, 3, 5, 5, 5]])).tolist()
    [[0, 0, 1, 1, 0, 0]]
    """
    near = np.zeros(numbers.shape, dtype=np.bool_)
    for axis in range(1, numbers.ndim):
        low, high = _neighbours(axis, numbers.ndim)
        differs = numbers[low] != numbers[high]
        if fill is not None:
            differs &= (numbers[low] != fill) & (numbers[high] != fill)
        near[low] |= differs
        near[high] |= differs
    for _ in range(width - 1):
        grown = near.copy()
        for axis in range(1, numbers.ndim):
            low, high = _neighbours(axis, numbers.ndim)
            grown[low] |= near[high]
            grown[high] |= near[low]
        near = grown
    return near.astype(np.uint8)


def _neighbours(axis: int, axes: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the indices of all pixels but the last, and of all but the first, along an axis."""
    before = tuple(slice(0, -1) if place == axis else slice(None) for place in range(axes))
    after = tuple(slice(1, None) if place == axis else slice(None) for place in range(axes))
    return before, after
