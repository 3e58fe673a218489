"""Samples of images or labels that are read in parts, and what is changed while they are read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Pieces, Sliceable

Region = tuple[slice, ...]
"""A part of a sample: a slice with start and stop for each of its axes."""


class Samples(Protocol):
    """Arrays of equal rank and type, one for each sample; a part is read when it is asked for."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that are read."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``, as ``(sample, …)``."""


@dataclass(frozen=True)
class Stacked:
    """The samples of one array, along one of its axes."""

    array: Sliceable
    axis: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.array.dtype)

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.array.shape[self.axis])

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        shape = tuple(map(int, self.array.shape))
        return shape[: self.axis] + shape[self.axis + 1 :]

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        index = (*region[: self.axis], slice(start, stop), *region[self.axis :])
        return np.moveaxis(np.asarray(self.array[index]), self.axis, 0)


@dataclass(frozen=True)
class Separate:
    """Samples that are an array each."""

    items: Sequence[Sliceable]

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the values of all samples."""
        return Pieces(self.items).dtype

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.items)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return tuple(map(int, self.items[number].shape))

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        read = [np.asarray(item[region]) for item in self.items[start:stop]]
        return np.stack(read).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Changed:
    """Samples whose values are changed one by one while they are read, such as a mask of 0 and 255."""

    samples: Samples
    change: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.samples.size(number)

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        return self.change(self.samples.read(start, stop, region)).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Reduced:
    """Samples without one of their axes, such as the colours of a mask; `change` reduces it, given last."""

    samples: Samples
    axis: int  # of a sample
    change: Callable[[NDArray[Any]], NDArray[Any]]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        size = self.samples.size(number)
        return size[: self.axis] + size[self.axis + 1 :]

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the samples ``start:stop``."""
        length = self.samples.size(start)[self.axis]
        whole = (*region[: self.axis], slice(0, length), *region[self.axis :])
        values = np.moveaxis(self.samples.read(start, stop, whole), self.axis + 1, -1)
        return self.change(values).astype(self.dtype, copy=False)


def samples_of(array: Sliceable, axis: int | None) -> Samples:
    """Return the samples along an axis of an array; without an axis the array is the only sample."""
    if isinstance(array, Pieces):
        return Separate(array.items)
    return Separate((array,)) if axis is None else Stacked(array, axis)


def equal_sizes(samples: Samples) -> bool:
    """Whether all samples have one size."""
    if isinstance(samples, Stacked):
        return True
    return len({samples.size(number) for number in range(len(samples))}) <= 1


def whole(size: Sequence[int]) -> Region:
    """Return the region that is all of a sample.

    >>> whole((2, 3))
    (slice(0, 2, None), slice(0, 3, None))
    """
    return tuple(slice(0, length) for length in size)
