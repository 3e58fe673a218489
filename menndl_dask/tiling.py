"""Tiling: how an image of any size is cut into pieces that a network can take, and put together again. Pure.

An image is computed in blocks, each in one go; a block is read with a margin and cut into tiles that overlap, so that
what the network says near a tile's border, where it sees too little, is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Cut(NamedTuple):
    """A block along one axis.

    Parameters
    ----------
    start, stop
        What is written of the image.
    low, high
        What is read of it.
    before, after
        By how much that is continued, by reflection, where the image ends.
    tiles
        Number of tiles.
    """

    start: int
    stop: int
    low: int
    high: int
    before: int
    after: int
    tiles: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one axis of an image is cut.

    Parameters
    ----------
    size
        Pixels of the image.
    tile
        Pixels that the network takes.
    overlap
        Pixels at either end of a tile whose prediction is thrown away; an image that fits into one tile needs none.
    """

    size: int
    tile: int
    overlap: int

    @property
    def margin(self) -> int:
        """Pixels at either end of a tile that are thrown away."""
        return 0 if self.size <= self.tile else self.overlap

    @property
    def core(self) -> int:
        """Pixels of a tile whose prediction is kept."""
        return self.tile - 2 * self.margin

    def step(self, most: int) -> int:
        """Return the size of a block: whole cores, at most so many pixels, and no more than the image has."""
        cores = max(1, min(most, self.size + self.core - 1) // self.core)
        return min(cores * self.core, self.size)

    def cuts(self, step: int) -> list[Cut]:
        """Return the blocks along this axis.

        >>> Tiling(size=10, tile=8, overlap=2).cuts(8)
        [Cut(start=0, stop=8, low=0, high=10, before=2, after=0, tiles=2), \
Cut(start=8, stop=10, low=6, high=10, before=0, after=4, tiles=1)]
        """
        return [self._cut(start, min(start + step, self.size)) for start in range(0, self.size, step)]

    def _cut(self, start: int, stop: int) -> Cut:
        tiles = -(-(stop - start) // self.core)
        first, last = start - self.margin, start + tiles * self.core + self.margin
        low, high = max(first, 0), min(last, self.size)
        return Cut(start, stop, low, high, low - first, last - high, tiles)


def tiles_of(image: NDArray[Any], cuts: Sequence[Cut], tilings: Sequence[Tiling]) -> Iterator[NDArray[Any]]:
    """Yield the tiles of a block, the last axis first.

    Parameters
    ----------
    image
        What was read: ``(spatial…, channel)``.
    cuts, tilings
        The block, along each axis, and how that is cut.
    """
    pads = [(cut.before, cut.after) for cut in cuts]
    whole = np.pad(image, [*pads, (0, 0)], mode="reflect")
    for place in _places(cuts):
        yield whole[tuple(slice(p * t.core, p * t.core + t.tile) for p, t in zip(place, tilings, strict=True))]


def stitched(predicted: NDArray[Any], cuts: Sequence[Cut], tilings: Sequence[Tiling]) -> NDArray[Any]:
    """Put the predictions of a block's tiles together.

    Parameters
    ----------
    predicted
        For each tile, in the order of `tiles_of`: ``(tile, spatial…, output)``.
    cuts, tilings
        As they were cut.

    Returns
    -------
    numpy.ndarray
        ``(spatial…, output)``, of the size that is written.
    """
    shape = [cut.tiles * tiling.core for cut, tiling in zip(cuts, tilings, strict=True)]
    whole = np.empty((*shape, predicted.shape[-1]), predicted.dtype)
    kept = tuple(slice(tiling.margin, tiling.margin + tiling.core) for tiling in tilings)
    for place, values in zip(_places(cuts), predicted, strict=True):
        whole[tuple(slice(p * t.core, (p + 1) * t.core) for p, t in zip(place, tilings, strict=True))] = values[kept]
    return whole[tuple(slice(0, cut.stop - cut.start) for cut in cuts)]


def _places(cuts: Sequence[Cut]) -> Iterator[tuple[int, ...]]:
    return product(*[range(cut.tiles) for cut in cuts])
