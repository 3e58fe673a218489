"""Square parts of images, chips, with a label from the share of a class in their mask. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.samples import Region, Samples
from menndl_dask.errors import DataError, nearest

SHARE = 0.5
"""Share of the labelled pixels from which on a chip has the class, by default."""

Place = tuple[int, tuple[int, ...]]
"""Number of an image, and the first pixel of a chip along each spatial axis."""


@dataclass(frozen=True)
class Chips:
    """Chips of images as samples; what an image has beyond its spatial axes is kept whole."""

    images: Samples
    places: Sequence[Place]
    side: int
    axes: tuple[int, ...]  # positions of the spatial axes in an image

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.images.dtype

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.places)

    def size(self, number: int) -> tuple[int, ...]:
        """Return the shape of a chip."""
        size = self.images.size(self.places[number][0] if self.places else 0)
        return tuple(self.side if axis in self.axes else length for axis, length in enumerate(size))

    def read(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        """Return a region of the chips ``start:stop``; chips beside each other are read together."""
        return np.concatenate([self._row(first, last, region) for first, last in self._rows(start, stop)])

    def _rows(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return ``(start, stop)`` of chips in one row of one image."""
        rows = [(image, corner[:-1]) for image, corner in self.places[start:stop]]
        ends = [place for place in range(1, len(rows)) if rows[place] != rows[place - 1]]
        bounds = [0, *ends, len(rows)]
        return [(start + low, start + high) for low, high in pairwise(bounds)]

    def _row(self, start: int, stop: int, region: Region) -> NDArray[Any]:
        image, corner = self.places[start]
        last = self.places[stop - 1][1]
        wanted = list(region)
        for axis, low, high in zip(self.axes, corner, last, strict=True):
            wanted[axis] = slice(low + region[axis].start, high + region[axis].stop)
        band = self.images.read(image, image + 1, tuple(wanted))[0]
        along = self.axes[-1]
        width = region[along].stop - region[along].start
        offsets = [place[1][-1] - corner[-1] for place in self.places[start:stop]]
        return np.stack([np.take(band, range(offset, offset + width), axis=along) for offset in offsets])


def chip_places(sizes: Sequence[tuple[int, ...]], side: int) -> tuple[list[Place], int]:
    """Return the places of the chips that fit into images side by side, and the number of pixels beyond them.

    >>> chip_places([(5, 4)], 2)
    ([(0, (0, 0)), (0, (0, 2)), (0, (2, 0)), (0, (2, 2))], 4)
    """
    places: list[Place] = []
    beyond = 0
    for number, size in enumerate(sizes):
        corners = list(product(*(range(0, length - side + 1, side) for length in size)))
        places += [(number, corner) for corner in corners]
        beyond += int(np.prod(size)) - len(corners) * side ** len(size)
    return places, beyond


@dataclass(frozen=True)
class Shares:
    """Pixels of each class in each chip: ``(chip, class)``, and how many have a label."""

    counts: NDArray[np.int64]

    @cached_property
    def labelled(self) -> NDArray[np.int64]:
        """Number of pixels with a label in each chip."""
        total: NDArray[np.int64] = self.counts.sum(axis=1)
        return total

    def of(self, classes: Sequence[int]) -> NDArray[np.float64]:
        """Return the share of some classes in the labelled pixels of each chip; 0 where there are none."""
        share: NDArray[np.float64] = self.counts[:, list(classes)].sum(axis=1) / np.maximum(self.labelled, 1)
        return share


def class_shares(labels: Chips, classes: int, fill: int | None) -> Shares:
    """Count the pixels of each class in each chip."""
    counts = np.zeros((len(labels), classes), dtype=np.int64)
    for start, stop in labels._rows(0, len(labels)):  # noqa: SLF001  rows are read at once
        values = labels.read(start, stop, tuple(slice(0, length) for length in labels.size(start)))
        for place, chip in enumerate(values, start):
            kept = chip if fill is None else chip[chip != fill]
            counts[place] = np.bincount(kept.ravel().astype(np.int64), minlength=classes)[:classes]
    return Shares(counts)


def share_classes(wanted: str, classes: Sequence[str]) -> tuple[tuple[int, ...], str, float]:
    """Return the class numbers, the name and the threshold of an option such as ``thick cloud+thin cloud=0.3``.

    A name that no class has stands for all classes whose name ends with it as a word.

    >>> share_classes("cloud", ["clear", "thick cloud", "cloud shadow", "thin cloud"])
    ((1, 3), 'cloud', 0.5)
    """
    names, equals, number = wanted.partition("=")
    try:
        share = float(number) if equals else SHARE
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise DataError(f"label-share: expected a share above 0 and up to 1 after '=', got {wanted!r}")
    found: list[int] = []
    for name in names.split("+"):
        exact = [place for place, known in enumerate(classes) if known.lower() == name.lower()]
        ends = [place for place, known in enumerate(classes) if known.lower().endswith(f" {name.lower()}")]
        if not (exact or ends):
            hint = nearest(name, classes) or f"; found {', '.join(classes)}"
            raise DataError(f"label-share: expected the name of a class, got {name!r}{hint}")
        found += exact or ends
    if len(set(found)) == len(classes):
        raise DataError(f"label-share: expected some of the classes {', '.join(classes)}, got all of them")
    return tuple(sorted(set(found))), " or ".join(names.split("+")), share
