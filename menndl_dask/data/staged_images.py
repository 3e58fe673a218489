"""Staged images of any size, from which patches are drawn. Runs in the trainer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import DataError

INDEX = "images.json"
"""File that lists the staged images."""


class Readable(Protocol):
    """An array of which a part is read when it is sliced: memory-mapped, or in a Zarr store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a part of the array."""


@dataclass(frozen=True, slots=True)
class StagedImage:
    """An image, or a part of one, of one split.

    Parameters
    ----------
    views
        Of each view the values ``(spatial…, channel)`` in the type of the data, with NaN where a value is missing.
    label
        Class numbers ``(spatial…)``; for a task with a label for each image the class number ``()`` or the values
        ``(value,)``.
    pixels
        For segmentation: of each class some positions ``(pixel, axis)`` of its pixels in this image.
    """

    views: tuple[Readable, ...]
    label: Readable
    pixels: Mapping[int, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return self.views[0].shape[:-1]


def file_of(directory: Path, split: str, place: int) -> Path:
    """Return the file with the images of a split, of the view number `place`; the labels come after the views."""
    return directory / f"{split}-images{place}.npy"


def open_images(directory: str | Path, split: str) -> list[StagedImage]:
    """Open the staged images of a split (``train``, ``validation`` or ``test``) in a directory from `stage`.

    They are mapped from the local disk, or read from the Zarr store as they are sliced. Of the training
    and the validation split, `StagedImage.pixels` holds up to 1000 positions of each class in an image.

    Raises
    ------
    DataError
        If the images are missing or damaged.
    """
    folder = Path(directory)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        samples, shapes = index[split]["samples"], index[split]["shapes"]
        stored = [_mapped(file_of(folder, split, place), row) for place, row in enumerate(shapes)]
        drawn = folder / f"{split}-pixels.npy"
        pixels = np.load(drawn, allow_pickle=False) if drawn.exists() else None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: expected staged images, found none that are readable: {error}") from None
    if any(column is None for column in stored):
        stored = _in_store(index, samples, stored)
    bounds = [] if pixels is None else np.searchsorted(pixels[:, 0], range(len(samples) + 1)).tolist()
    images = []
    for number in range(len(samples)):
        *views, label = [column[number] for column in stored if column is not None]
        rows = np.zeros((0, 2), dtype=np.int32) if pixels is None else pixels[bounds[number] : bounds[number + 1]]
        kinds = np.unique(rows[:, 1]).tolist()
        images.append(StagedImage(tuple(views), label, {kind: rows[rows[:, 1] == kind, 2:] for kind in kinds}))
    return images


def _mapped(path: Path, shapes: Sequence[Sequence[int]]) -> list[Readable] | None:
    """Return the arrays of a file, one behind the other, or None if there is no such file."""
    if not path.exists():
        return None
    whole = np.load(path, mmap_mode="r", allow_pickle=False)
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    return [whole[end - math.prod(shape) : end].reshape(shape) for shape, end in zip(shapes, ends, strict=True)]


def _in_store(
    index: Mapping[str, Any], samples: Sequence[int], stored: Sequence[list[Readable] | None]
) -> list[list[Readable] | None]:
    """Return the arrays of which a part is read from the Zarr store, in place of those that are not staged."""
    from menndl_dask.data.labels import problem_dataset
    from menndl_dask.data.store.lazy_array import LazyArray
    from menndl_dask.problem import Problem

    variables = problem_dataset(Problem.from_dict(index["problem"])).variables
    return [
        [LazyArray(variable, sample, np.dtype(kind), place < len(variables) - 1) for sample in samples]
        if column is None
        else column
        for place, (variable, kind, column) in enumerate(zip(variables, index["kinds"], stored, strict=True))
    ]
