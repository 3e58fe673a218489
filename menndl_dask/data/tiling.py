"""Tiling: split an image of any size into tiles for a network, and stitch the predictions. Pure.

An image is predicted block by block. A block is read with a margin and split into overlapping tiles; predictions near
the border of a tile, where the network lacks context, are discarded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class BlockSpan(NamedTuple):
    """Extent of a block along one axis, in pixels: ``start:stop`` is written, ``low:high`` is read."""

    start: int
    stop: int
    low: int
    high: int
    before: int  # padding by reflection, beyond the edges of the image
    after: int
    tiles: int  # number of them


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiling along one axis: size of the image, size of a tile, and overlap of tiles, in pixels."""

    size: int
    tile: int
    overlap: int

    @property
    def margin(self) -> int:
        """Pixels at either end of a tile whose prediction is discarded; none if the image fits into one tile."""
        return 0 if self.size <= self.tile else self.overlap

    @property
    def core(self) -> int:
        """Pixels of a tile whose prediction is kept."""
        return self.tile - 2 * self.margin

    def step(self, most: int) -> int:
        """Return the size of a block: a multiple of `core`, at most `most` pixels and the size of the image."""
        cores = max(1, min(most, self.size + self.core - 1) // self.core)
        return min(cores * self.core, self.size)

    def spans(self, step: int) -> list[BlockSpan]:
        """Return the blocks along this axis.

        >>> Tiling(size=10, tile=8, overlap=2).spans(8)
        [BlockSpan(start=0, stop=8, low=0, high=10, before=2, after=0, tiles=2), \
BlockSpan(start=8, stop=10, low=6, high=10, before=0, after=4, tiles=1)]
        """
        spans = []
        for start in range(0, self.size, step):
            stop = min(start + step, self.size)
            tiles = -(-(stop - start) // self.core)
            first, last = start - self.margin, start + tiles * self.core + self.margin
            low, high = max(first, 0), min(last, self.size)
            spans.append(BlockSpan(start, stop, low, high, low - first, last - high, tiles))
        return spans


def split_tiles(image: NDArray[Any], spans: Sequence[BlockSpan], tilings: Sequence[Tiling]) -> Iterator[NDArray[Any]]:
    """Yield the tiles of a block with its margin, ``(spatial…, channel)``; the last axis varies fastest."""
    pads = [(span.before, span.after) for span in spans]
    whole = np.pad(image, [*pads, (0, 0)], mode="reflect")
    for index in np.ndindex(*[span.tiles for span in spans]):
        yield whole[tuple(slice(p * t.core, p * t.core + t.tile) for p, t in zip(index, tilings, strict=True))]


def stitch(predicted: NDArray[Any], spans: Sequence[BlockSpan], tilings: Sequence[Tiling]) -> NDArray[Any]:
    """Stitch the predictions for the tiles of a block, ``(tile, spatial…, output)`` in the order of `split_tiles`.

    Returns
    -------
    numpy.ndarray
        Prediction of the block without its margin, ``(spatial…, output)``.
    """
    shape = [span.tiles * tiling.core for span, tiling in zip(spans, tilings, strict=True)]
    whole = np.empty((*shape, predicted.shape[-1]), predicted.dtype)
    kept = tuple(slice(tiling.margin, tiling.margin + tiling.core) for tiling in tilings)
    for index, values in zip(np.ndindex(*[span.tiles for span in spans]), predicted, strict=True):
        whole[tuple(slice(p * t.core, (p + 1) * t.core) for p, t in zip(index, tilings, strict=True))] = values[kept]
    return whole[tuple(slice(0, span.stop - span.start) for span in spans)]
