"""Arrays of a source file, read lazily, and the meaning of their names and shapes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import DataError

IMAGES = ("image", "images", "x", "X", "data", "img")
LABELS = (
    "label", "labels", "y", "Y", "mask", "masks", "target", "targets", "segmentation", "segmentations", "seg", "gt",
    "ground_truth", "annotation", "annotations", "boundary", "boundaries", "class", "category",
)  # fmt: skip
CLASSES = ("classes", "class_names", "label_names")
"""Usual names of arrays and columns, without regard to case."""

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of splits in other data sets, and ours."""

ORDERED = ("t", "time", "frame", "frames", "page", "pages", "section", "sections", "slice", "slices")
"""Names of a dimension that holds samples in order: neighbours are alike."""


class Sliceable(Protocol):
    """An array that is read when it is sliced: NumPy, h5py, Zarr, xarray or image files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a part of the array."""


@dataclass(frozen=True)
class Pieces:
    """Arrays of one rank, one for each sample, perhaps of unequal size; the first axis is the samples."""

    items: Sequence[Sliceable]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of samples, and the length of each axis; -1 where the samples differ."""
        shapes = {tuple(item.shape) for item in self.items}
        lengths = [set(axis) for axis in zip(*shapes, strict=True)]
        return (len(self.items), *(axis.pop() if len(axis) == 1 else -1 for axis in lengths))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the values of all."""
        return np.result_type(*{np.dtype(item.dtype) for item in self.items})

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a slice of samples of equal size."""
        which, *rest = index if isinstance(index, tuple) else (index,)
        items: Any = self.items[which]
        return np.stack([np.asarray(item[tuple(rest)]) for item in items]).astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of an image lie: on Earth, in a scanner, or along the coordinates of a data set.

    Parameters
    ----------
    dims
        Names of the spatial axes, in any order.
    steps
        For each of them the step from one pixel to the next, ``(axis, coordinate)``.
    origin
        Coordinates of the first pixel.
    system
        Name of the coordinate reference system; empty if it is not known.
    """

    dims: tuple[str, ...]
    steps: tuple[tuple[float, ...], ...]
    origin: tuple[float, ...]
    system: str = ""

    def __str__(self) -> str:
        """Return the first pixel, the steps and the system as text."""
        steps = ", ".join(f"{dim} {_numbers(step)}" for dim, step in zip(self.dims, self.steps, strict=True))
        return f"first pixel at {_numbers(self.origin)}, steps {steps}{self.system and f', {self.system}'}"


def _numbers(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.7g}" for value in values) + ")"


@dataclass(frozen=True, slots=True)
class SourceArray:
    """One array of a source file, with its dimension names and attributes."""

    array: Sliceable  # `Pieces` for samples of unequal size
    dims: tuple[str, ...] = ()  # as the file names them, such as ("z", "y", "x"); empty if it does not
    attributes: Mapping[str, Any] = field(default_factory=dict)
    stored: Sliceable | None = None  # before decoding (scale, offset, fill value); None if the values are the same
    spacing: Mapping[str, float] = field(default_factory=dict)  # size of a pixel by dimension, where the file says it
    grids: tuple[Grid | None, ...] = ()  # where the pixels lie, of each sample that is a file of its own

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)


@dataclass(frozen=True, slots=True)
class Content:
    """Arrays of a file or folder by name, and what the source says of them.

    A dimension of an array is the samples if it is called so (`SAMPLE` in `menndl_dask.data.axes`) or if it is one of
    `ORDERED`; without one, an array whose dimensions have names is a single image.
    """

    arrays: Mapping[str, SourceArray]
    classes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()  # names of the arrays that hold images, where the format says so
    label: str | None = None  # name of the array that holds the labels, where the format says so
    consecutive: bool = False  # the samples are sections or frames of one object, in order
    notes: tuple[str, ...] = ()  # what was assumed, changed or left out, one line each, for the end of a conversion


def split_name(name: object) -> str:
    """Return our name of a split.

    >>> split_name("val"), split_name("holdout")
    ('validation', 'holdout')
    """
    return SPLIT_NAMES.get(str(name).lower(), str(name))


def numbered(names: Iterable[object], classes: Sequence[str] = ()) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Encode class names as numbers; return the numbers and the names in their order.

    >>> numbered(["cat", "dog", "cat"])[1]
    ('cat', 'dog')
    """
    words = [str(name) for name in names]
    known = tuple(classes) or tuple(sorted(set(words)))
    number_of = {word: number for number, word in enumerate(known)}
    for position, word in enumerate(words):
        if word not in number_of:
            raise DataError(f"label: sample {position}: expected one of {', '.join(known)}, got {word!r}")
    return np.array([number_of[word] for word in words], dtype=np.int64), known
