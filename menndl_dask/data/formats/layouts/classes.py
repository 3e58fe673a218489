"""Labels of published data sets as class numbers: codes, numbered objects, quality bits; read when sliced. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Sliceable
from menndl_dask.data.formats.views import full_index

FILL = 255
"""Class number of pixels without a label."""


@dataclass(frozen=True)
class _ClassNumbers:
    """Base of the arrays that are read as class numbers, one for each value."""

    array: Sliceable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the class numbers."""
        return np.dtype(np.uint8)


@dataclass(frozen=True)
class Codes(_ClassNumbers):
    """Codes of a mask as class numbers.

    Codes that are not named raise an error: nothing is guessed.
    """

    classes: Mapping[int, int]  # class number of each code

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        """Read a part."""
        codes = np.asarray(self.array[index])
        numbers = np.full(codes.shape, FILL, dtype=np.uint8)
        known = np.zeros(codes.shape, dtype=np.bool_)
        for code, number in self.classes.items():
            here = codes == code
            numbers[here] = number
            known |= here
        if not known.all():
            got = codes[~known].flat[0]
            raise ValueError(f"expected the codes {', '.join(map(str, self.classes))}, got {got}")
        return numbers


@dataclass(frozen=True)
class Bits(_ClassNumbers):
    """Bits of a quality band as class numbers: the first bit that is set decides; `otherwise` if there is none."""

    classes: tuple[tuple[int, int], ...]  # bit and class number
    otherwise: int = 0

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        """Read a part."""
        values = np.asarray(self.array[index]).astype(np.int64)
        numbers = np.full(values.shape, self.otherwise, dtype=np.uint8)
        for bit, number in reversed(self.classes):
            numbers[(values >> bit) & 1 == 1] = number
        return numbers


@dataclass(frozen=True)
class SectionBoundaries(_ClassNumbers):
    """Boundaries of numbered objects in each section (z, y, x): 1 beside another object or in no object, else 0.

    Beside is next along y or x, on both sides. Numbers from `unlabelled` on have no label.
    """

    unlabelled: int | None = None

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        """Read a part; a margin of one pixel is read with it."""
        sections, *rest = full_index(index, 3)
        wanted, within = [], []
        for entry, length in zip(rest, self.shape[1:], strict=True):
            start, stop, step = _slice(entry, length)
            low, high = max(0, start - 1), min(length, stop + 1)
            wanted.append(slice(low, high))
            within.append(slice(start - low, stop - low, step) if isinstance(entry, slice) else start - low)
        numbers = np.asarray(self.array[(sections, *wanted)])
        near = numbers == 0
        for axis in (-2, -1):
            low_side, high_side = _neighbours(axis)
            differs = numbers[low_side] != numbers[high_side]
            near[low_side] |= differs
            near[high_side] |= differs
        found = near.astype(np.uint8)
        if self.unlabelled is not None:
            found[numbers >= self.unlabelled] = FILL
        return np.asarray(found[(..., *within)])


def _slice(entry: Any, length: int) -> tuple[int, int, int]:
    if isinstance(entry, slice):
        return entry.indices(length)
    place = range(length)[entry]
    return place, place + 1, 1


def _neighbours(axis: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the indices of all pixels but the last, and of all but the first, along one of the last two axes."""
    after = (slice(None),) * (-axis - 1)
    return (..., slice(0, -1), *after), (..., slice(1, None), *after)
