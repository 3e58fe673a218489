"""Positions in images, drawn as discs of a class or as heat maps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import ORDERED, SourceArray
from menndl_dask.data.formats.labels.table import find_files, texts
from menndl_dask.data.formats.samples import Region
from menndl_dask.errors import DataError
from menndl_dask.text import counted

RADIUS = 3.0
"""Radius of a disc in pixels, by default."""

_SIGMAS = 5.0  # standard deviations, within which a Gaussian is drawn

_AXES: Mapping[str, tuple[str, ...]] = {
    "x": ("x", "col", "column", "x_px", "x_pixel", "position_x", "pos_x"),
    "y": ("y", "row", "y_px", "y_pixel", "position_y", "pos_y"),
    "z": ("z", "z_px", "position_z", "pos_z"),
}
_CLASS = ("class", "label", "category", "type", "kind", "name", "element", "species")
_SAMPLE = ("sample", "image_number", *ORDERED)


@dataclass(frozen=True)
class Discs:
    """Pixel labels: around each position the class number of it, 0 elsewhere; a later position is drawn over others."""

    sizes: Sequence[tuple[int, ...]]  # of each sample
    positions: Sequence[NDArray[np.float64]]  # of each sample: (position, axis) in pixels, in the order of the axes
    numbers: Sequence[NDArray[np.int64]]  # of each sample: class number of each position
    radius: float = RADIUS

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.sizes)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.sizes[number]

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Draw a region of the samples ``start:stop``."""
        drawn = np.zeros((stop - start, *(part.stop - part.start for part in region)), dtype=np.uint8)
        for place in range(start, stop):
            self._draw(drawn[place - start], place, region)
        return drawn

    def _draw(self, image: NDArray[np.uint8], number: int, region: Region) -> None:
        origin = np.array([part.start for part in region])
        for position, value in zip(self.positions[number] - origin, self.numbers[number].tolist(), strict=True):
            low = np.maximum(np.ceil(position - self.radius), 0).astype(int)
            high = np.minimum(np.floor(position + self.radius) + 1, image.shape).astype(int)
            if (low >= high).any():
                continue
            box = tuple(map(slice, low.tolist(), high.tolist()))
            distances = np.ogrid[box]
            squares = sum((axis - centre) ** 2 for axis, centre in zip(distances, position, strict=True))
            image[box][squares <= self.radius**2] = value


@dataclass(frozen=True)
class HeatMaps:
    """Pixel labels from 0 to 1: the highest of Gaussians around the positions, which have the height 1."""

    sizes: Sequence[tuple[int, ...]]  # of each sample
    positions: Sequence[NDArray[np.float64]]  # of each sample: (position, axis) in pixels, in the order of the axes
    sigma: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.sizes)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.sizes[number]

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Draw a region of the samples ``start:stop``."""
        drawn = np.zeros((stop - start, *(part.stop - part.start for part in region)), dtype=np.float32)
        origin = np.array([part.start for part in region])
        for image, positions in zip(drawn, self.positions[start:stop], strict=True):
            for position in positions - origin:
                low = np.maximum(np.floor(position - _SIGMAS * self.sigma), 0).astype(int)
                high = np.minimum(np.ceil(position + _SIGMAS * self.sigma) + 1, image.shape).astype(int)
                if (low >= high).any():
                    continue
                box = tuple(map(slice, low.tolist(), high.tolist()))
                squares = sum((axis - centre) ** 2 for axis, centre in zip(np.ogrid[box], position, strict=True))
                np.maximum(image[box], np.exp(-squares / (2 * self.sigma**2)), out=image[box])
        return drawn


def position_columns(table: Mapping[str, SourceArray]) -> dict[str, str]:
    """Return the columns of positions by axis; empty if the table has no numbers in a column x and one y."""
    lower = {name.lower(): name for name in table}
    found = {
        axis: lower[name]
        for axis, names in _AXES.items()
        for name in names[:1] + names[1:]
        if name in lower and np.asarray(table[lower[name]].array).dtype.kind in "if"
    }
    return found if {"x", "y"} <= set(found) else {}


def draw_points(
    table: Mapping[str, SourceArray],
    sizes: Sequence[tuple[int, ...]],
    axes: Sequence[str],
    files: Sequence[str],
    radius: float,
    heat: float | None = None,
) -> tuple[Discs | HeatMaps, tuple[str, ...], str]:
    """Return discs around the positions of a table, the names of their classes, and a line about them.

    With `heat` they are heat maps, which have no classes.

    Parameters
    ----------
    table
        Columns ``x``, ``y`` and for volumes ``z`` in pixels; with several images one that names the file or has the
        number of the image; optionally ``class``.
    sizes, axes
        Size of each image along its spatial axes, and their names.
    files
        Names of the images' files; empty if they have none.
    radius
        Radius of the discs in pixels.
    heat
        Standard deviation of heat maps in pixels.

    Raises
    ------
    DataError
        If an image is not there, or a position is outside of its image.
    """
    columns = position_columns(table)
    order = list("zyx")[3 - len(axes) :]
    if set(order) - set(columns):
        raise DataError(f"expected columns {', '.join(order)} for positions in images ({', '.join(axes)}), found "
                        f"{', '.join(table)}")  # fmt: skip
    positions = np.stack([np.asarray(table[columns[axis]].array, dtype=np.float64) for axis in order], axis=1)
    places, by = _images(table, len(sizes), files)
    for row, (place, position) in enumerate(zip(places.tolist(), positions, strict=True)):
        if (position < -0.5).any() or (position > np.array(sizes[place]) - 0.5).any() or np.isnan(position).any():
            got = ", ".join(f"{axis} {value:g}" for axis, value in zip(order, position, strict=True))
            size = " x ".join(map(str, sizes[place]))
            raise DataError(
                f"row {row + 1}: expected a position in pixels within {size} ({' '.join(order)}), got {got}"
            )
    lower = {name.lower(): name for name in table}
    named = next((lower[name] for name in _CLASS if name in lower), None)
    words = ["point"] * len(places) if named is None else texts(table[named])
    names = tuple(sorted(set(words)))
    numbers = np.array([1 + names.index(word) for word in words], dtype=np.int64)
    groups = [np.flatnonzero(places == number) for number in range(len(sizes))]
    if heat is not None:
        maps = HeatMaps(sizes, [positions[rows] for rows in groups], heat)
        note = f"{counted(len(places), 'position')} became Gaussians of height 1 with sigma {heat:g} pixels{by}"
        if len(names) > 1:
            note += f"; a heat map does not tell their {len(names)} classes apart"
        return maps, (), note
    discs = Discs(sizes, [positions[rows] for rows in groups], [numbers[rows] for rows in groups], radius)
    note = f"{counted(len(places), 'position')} became discs of radius {radius:g} pixels{by}"
    return discs, ("background", *names), note


def _images(table: Mapping[str, SourceArray], number: int, files: Sequence[str]) -> tuple[NDArray[np.int64], str]:
    """Return the image of each row, and in words by which column."""
    rows = len(texts(next(iter(table.values()))))
    named, places = find_files(table, files) if files else (None, [])
    if named is not None:
        return np.array(places, dtype=np.int64), f", by the column {named}"
    if number == 1:
        return np.zeros(rows, dtype=np.int64), ""
    lower = {name.lower(): name for name in table}
    column = next((lower[name] for name in _SAMPLE if name in lower), None)
    if column is None:
        expected = "a column that names the file or has the number of the image (sample, frame, slice, …)"
        raise DataError(f"expected {expected}, as there are {number} images; found {', '.join(table)}")
    values = np.asarray(table[column].array)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > number:
        raise DataError(f"column {column}: expected numbers of {number} images, got {texts(table[column])[0]}, …")
    first = 1 if values.max() == number else 0
    if first and values.min() == 0:
        raise DataError(f"column {column}: expected numbers from 0 to {number - 1}, got {number}")
    return values.astype(np.int64) - first, f", by the column {column} counted from {first}"
