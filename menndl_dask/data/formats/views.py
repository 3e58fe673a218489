"""Arrays seen another way: axes left out or in another order, values decoded; read when they are sliced. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Sliceable


def full_index(index: Any, rank: int) -> tuple[Any, ...]:
    """Return an index with an entry for each axis.

    >>> full_index(3, 2), full_index((..., slice(1)), 3)
    ((3, slice(None, None, None)), (slice(None, None, None), slice(None, None, None), slice(None, 1, None)))
    """
    entries = index if isinstance(index, tuple) else (index,)
    if any(entry is Ellipsis for entry in entries):
        place = next(p for p, entry in enumerate(entries) if entry is Ellipsis)
        between = (slice(None),) * (rank - len(entries) + 1)
        entries = (*entries[:place], *between, *entries[place + 1 :])
    return (*entries, *(slice(None),) * (rank - len(entries)))


@dataclass(frozen=True)
class Squeezed:
    """An array without some of its axes of length 1."""

    array: Sliceable
    left_out: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the other axes."""
        return tuple(size for axis, size in enumerate(self.array.shape) if axis not in self.left_out)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        entries = iter(full_index(index, len(self.shape)))
        whole = tuple(0 if a in self.left_out else next(entries) for a in range(len(self.array.shape)))
        return np.asarray(self.array[whole])


@dataclass(frozen=True)
class Transposed:
    """An array with its axes in reverse order, as files with the first axis fastest hold it."""

    array: Sliceable

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.array.shape)[::-1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        return np.asarray(self.array[full_index(index, len(self.shape))[::-1]]).T


@dataclass(frozen=True)
class Decoded:
    """Stored numbers as measured values, after the conventions of NetCDF: ``value * scale + offset``, NaN for missing.

    Source: https://cfconventions.org, section 8.1 and 2.5.1.
    """

    array: Sliceable
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` for integers of at most 16 bits, which it holds exactly, and for itself; else ``float64``."""
        stored = np.dtype(self.array.dtype)
        return np.dtype(np.float32 if stored.itemsize <= (2 if stored.kind in "iu" else 4) else np.float64)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        stored = np.asarray(self.array[index])
        values = stored.astype(self.dtype)
        if (self.scale, self.offset) != (1.0, 0.0):
            values = values * self.dtype.type(self.scale) + self.dtype.type(self.offset)
        for number in self.missing:
            values[stored == number] = np.nan
        return np.asarray(values)


def decoded(array: Sliceable, attributes: Mapping[str, Any]) -> Decoded | None:
    """Return the measured values of an array whose attributes scale it or name missing values; None if they do not.

    >>> decoded(np.array([1, 2, 9], "int16"), {"scale_factor": 0.5, "_FillValue": 9})[:]
    array([0.5, 1. , nan], dtype=float32)
    >>> decoded(np.array([1, 2, 9]), {"units": "K"}) is None
    True
    """
    if np.dtype(array.dtype).kind not in "iuf":
        return None
    scale, offset = decoding(attributes)
    given = [attributes[name] for name in ("_FillValue", "missing_value") if name in attributes]
    missing = tuple(v for entry in given for v in _numbers(entry) if not np.isnan(v))
    if (scale, offset) == (1.0, 0.0) and not missing:
        return None
    return Decoded(array, scale, offset, missing)


def decoding(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return the scale and the offset of stored numbers; 1 and 0 if attributes name none."""
    return _number(attributes.get("scale_factor"), 1.0), _number(attributes.get("add_offset"), 0.0)


def _number(value: Any, default: float) -> float:
    return next(iter(_numbers(value)), default)


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in np.ravel(np.asarray(value, dtype=np.float64)) if np.isfinite(v))
    except (TypeError, ValueError):  # a text or None
        return ()


@dataclass(frozen=True)
class Cropped:
    """A part of an array, as an array."""

    array: Sliceable
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.array.dtype)

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        whole = []
        for entry, first, length in zip(full_index(index, len(self.shape)), self.start, self.shape, strict=True):
            if isinstance(entry, slice):
                start, stop, step = entry.indices(length)
                whole.append(slice(first + start, first + stop, step))
            else:
                whole.append(first + range(length)[entry])
        return np.asarray(self.array[tuple(whole)])
