"""Positions of objects in predicted maps: the peaks of a heat map, the middles of regions of a class. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

HEIGHT = 0.5
"""Of a heat map, whose objects have the height 1: from here on a peak is an object."""

DISTANCE = 3
"""Pixels along each axis within which a heat map has one peak, by default."""


class Position(NamedTuple):
    """Where an object is, in pixels along each axis, and its class or the height of its peak."""

    place: tuple[float, ...]
    what: str


def peaks(values: NDArray[Any], distance: int = DISTANCE, height: float = HEIGHT) -> list[Position]:
    """Return the peaks of a map of values ``(spatial…)``, the highest first.

    A peak is the highest within `distance` pixels along each axis. Its place is the centre of mass of the values
    around it.

    >>> [(p.place, p.what) for p in peaks(np.array([[0, 0, 0.1, 0.9, 0.1, 0, 0, 0.2]]))]
    [((0.0, 3.0), '0.9')]
    """
    filled = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=-np.inf)
    highest = (ndimage.maximum_filter(filled, 2 * distance + 1, mode="nearest") == filled) & (filled >= height)
    regions, number = ndimage.label(highest, np.ones((3,) * filled.ndim))
    found = []
    for middle in ndimage.center_of_mass(highest, regions, range(1, number + 1)):
        centre = tuple(round(place) for place in middle)
        box = tuple(slice(max(0, place - 1), place + 2) for place in centre)
        around = np.maximum(np.where(np.isfinite(filled[box]), filled[box], 0.0), 0.0)
        shift = ndimage.center_of_mass(around)
        place = tuple(float(part.start + step) for part, step in zip(box, shift, strict=True))
        found.append((float(filled[centre]), place))
    return [Position(place, f"{value:.4g}") for value, place in sorted(found, reverse=True)]


def middles(numbers: NDArray[Any], classes: Sequence[str], fill: int | None = None) -> list[Position]:
    """Return the middles of connected regions of each class but the first one, which is the background.

    >>> middles(np.array([[0, 1, 1, 1, 0, 2]]), ["background", "atom", "vacancy"])
    [Position(place=(0.0, 2.0), what='atom'), Position(place=(0.0, 5.0), what='vacancy')]
    """
    found = []
    for number, name in enumerate(classes):
        if number and number != fill:
            regions, count = ndimage.label(numbers == number)
            places = ndimage.center_of_mass(regions > 0, regions, range(1, count + 1))
            found += [Position(tuple(map(float, place)), name) for place in places]
    return found


def table(rows: Iterable[tuple[str, Sequence[Position]]], column: str, axes: Sequence[str], what: str) -> str:
    """Return positions as a table, as `menndl_dask.data.formats.conversion.convert` reads it.

    >>> print(table([("a.png", [Position((1.5, 2.0), "atom")])], "file", ("y", "x"), "class"), end="")
    file,y,x,class
    a.png,1.50,2.00,atom
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((column, *axes, what))
    for name, positions in rows:
        writer.writerows((name, *(f"{p:.2f}" for p in position.place), position.what) for position in positions)
    return text.getvalue()
