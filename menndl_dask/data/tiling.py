"""Tiling: split an image of any size into tiles for a network, and stitch its predictions. Pure.

Tiles overlap. Predictions at the sides of a tile, where the network lacks context, are discarded, except at the edges
of the image. In the rest of the overlap the predictions of neighbouring tiles are blended: their weights rise and fall
linearly and sum to 1. So the result does not depend on the blocks in which an image is predicted, and equals the
prediction for the image at once wherever the context of the network fits into the discarded margin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK_PIXELS = 2**22  # of a block: its values and its predictions take some tens of megabytes
_SHARE = 8  # by default an eighth of a tile is discarded at each side, and as much is blended


class Span(NamedTuple):
    """Extent of a block along one axis, in pixels."""

    start: int  # start:stop is predicted
    stop: int
    low: int  # low:high is read
    high: int
    after: int  # pixels by which the image is continued by reflection, beyond its edge
    tiles: tuple[int, ...]  # first pixels of the tiles

    @property
    def read(self) -> slice:
        """What is read of the image."""
        return slice(self.low, self.high)

    @property
    def predicted(self) -> slice:
        """What is predicted of the image."""
        return slice(self.start, self.stop)


Block = tuple[Span, ...]  # along each axis


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiling along one axis, in pixels; see `Tiling.of`.

    Parameters
    ----------
    size, tile
        Pixels of the image and of a tile.
    margin
        Pixels at each side of a tile whose prediction is discarded, except at an edge of the image.
    stride
        Pixels from one tile to the next.
    multiple
        Number that the first pixel of each tile is a multiple of.
    """

    size: int
    tile: int
    margin: int
    stride: int
    multiple: int = 1

    @classmethod
    def of(cls, size: int, tile: int, margin: int | None = None, multiple: int | None = None) -> Self:
        """Return the tiling in which as many pixels are blended as are discarded at each side of a tile.

        Parameters
        ----------
        size, tile
            Pixels of the image and of a tile.
        margin
            Pixels that are discarded at each side: less than half a tile; by default an eighth of it.
        multiple
            The factor by which the network shrinks images, of which the stride is a multiple where that is possible:
            then the network sees the same grid in every tile. By default the largest power of two that is at most the
            margin: a network that shrinks images by more has a context that does not fit into the margin.

        Examples
        --------
        >>> Tiling.of(size=512, tile=64)
        Tiling(size=512, tile=64, margin=8, stride=40, multiple=8)
        """
        margin = tile // _SHARE if margin is None else margin
        multiple = 2 ** int(math.log2(max(1, margin))) if multiple is None else multiple
        kept = tile - 2 * margin
        stride = max(1, kept - min(margin, kept // 3))
        while multiple > 1 and multiple > stride:
            multiple //= 2
        return cls(size, tile, margin, stride // multiple * multiple, multiple)

    @property
    def blend(self) -> int:
        """Pixels in which the predictions of a tile and the next are blended."""
        return self.tile - 2 * self.margin - self.stride

    @property
    def starts(self) -> tuple[int, ...]:
        """First pixels of all tiles: the last one ends at the edge, or less than `multiple` pixels beyond it."""
        last = -(-max(0, self.size - self.tile) // self.multiple) * self.multiple
        return (*range(0, last, self.stride), last)

    @property
    def cost(self) -> float:
        """Pixels of all tiles for each pixel of the image."""
        return len(self.starts) * self.tile / self.size

    def step(self, most: int) -> int:
        """Return the size of a block: the image if it has at most so many pixels, else a multiple of the stride."""
        return self.size if self.size <= most else min(self.size, max(1, most // self.stride) * self.stride)

    def spans(self, step: int) -> list[Span]:
        """Return the blocks of this size along the axis.

        >>> Tiling(size=10, tile=8, margin=2, stride=3).spans(6)
        [Span(start=0, stop=6, low=0, high=10, after=0, tiles=(0, 2)), \
Span(start=6, stop=10, low=2, high=10, after=0, tiles=(2,))]
        """
        starts, spans = self.starts, []
        for start in range(0, self.size, step):
            stop = min(start + step, self.size)
            tiles = tuple(tile for tile in starts if max(self._kept(tile)[0], start) < min(self._kept(tile)[1], stop))
            end = tiles[-1] + self.tile
            after = max(0, end - self.size)
            low = min(tiles[0], max(0, self.size - after - 1)) if after else tiles[0]  # with what is reflected
            spans.append(Span(start, stop, low, min(end, self.size), after, tiles))
        return spans

    def span_of(self, tile: int) -> Span:
        """Return what is kept of one tile, by its number, as a block that is predicted by this tile alone."""
        first = self.starts[tile]
        end = first + self.tile
        after = max(0, end - self.size)
        low = min(first, max(0, self.size - after - 1)) if after else first
        return Span(*self._kept(first), low, min(end, self.size), after, (first,))

    def weights(self, span: Span) -> NDArray[np.float32]:
        """Return the weights ``(tile, pixel)`` of the predictions in a block, which sum to 1 at each pixel."""
        raw = np.zeros((len(span.tiles), span.stop - span.start))
        for weights, tile in zip(raw, span.tiles, strict=True):
            first, last = self._kept(tile)
            low, high = max(first, span.start), min(last, span.stop)
            pixels, ramp = np.arange(low, high), np.ones(high - low)
            if first > 0:
                ramp = np.minimum(ramp, (pixels - first + 1) / (self.blend + 1))
            if last < self.size:
                ramp = np.minimum(ramp, (last - pixels) / (self.blend + 1))
            weights[low - span.start : high - span.start] = ramp
        return np.asarray(raw / raw.sum(axis=0), np.float32)

    def _kept(self, tile: int) -> tuple[int, int]:
        """Return the first pixel of the image that is kept of a tile, and the first beyond."""
        end = tile + self.tile
        return tile + self.margin if tile else 0, end - self.margin if end < self.size else self.size


def cost_factor(tilings: Sequence[Tiling]) -> float:
    """Return how many times each pixel is computed on average, without what blocks share.

    >>> cost_factor([Tiling.of(512, 64)] * 2)  # nearly (64 / 40)²
    2.640625
    """
    return math.prod(tiling.cost for tiling in tilings)


def block_size(tilings: Sequence[Tiling], pixels: int = BLOCK_PIXELS) -> tuple[int, ...]:
    """Return the size along each axis of blocks of about so many pixels at most; short axes are not divided."""
    steps = [0] * len(tilings)
    for done, axis in enumerate(sorted(range(len(tilings)), key=lambda axis: tilings[axis].size)):
        steps[axis] = tilings[axis].step(int(pixels ** (1 / (len(tilings) - done)) + 1e-6))
        pixels = max(1, pixels // steps[axis])
    return tuple(steps)


def blocks(tilings: Sequence[Tiling], pixels: int = BLOCK_PIXELS) -> Iterator[Block]:
    """Yield the blocks of an image; together they are the image, and none overlaps another."""
    steps = block_size(tilings, pixels)
    yield from product(*[tiling.spans(step) for tiling, step in zip(tilings, steps, strict=True)])


def split_tiles(image: Array, block: Block, tilings: Sequence[Tiling]) -> Iterator[Array]:
    """Yield the tiles of what is read for a block, ``(spatial…, channel)``; the last axis varies fastest."""
    whole = np.pad(image, [*((0, span.after) for span in block), (0, 0)], mode="reflect")
    for starts in product(*[span.tiles for span in block]):
        along = zip(starts, block, tilings, strict=True)
        yield whole[tuple(slice(start - span.low, start - span.low + t.tile) for start, span, t in along)]


def stitch(predicted: Iterable[Array], block: Block, tilings: Sequence[Tiling]) -> NDArray[np.float32]:
    """Stitch the predictions for the tiles of a block, each ``(spatial…, output)``, in the order of `split_tiles`.

    Returns
    -------
    numpy.ndarray
        Prediction of the block without its margin, ``(spatial…, output)``.
    """
    whole: Array | None = None
    along = [list(zip(s.tiles, t.weights(s), strict=True)) for s, t in zip(block, tilings, strict=True)]
    for values, parts in zip(predicted, product(*along), strict=True):
        if whole is None:
            whole = np.zeros((*[span.stop - span.start for span in block], values.shape[-1]), np.float32)
        weight, into, out_of = np.ones((1,) * len(block), np.float32), [], []
        for axis, ((tile, weights), span) in enumerate(zip(parts, block, strict=True)):
            used = np.flatnonzero(weights)
            low, high = int(used[0]), int(used[-1]) + 1
            into.append(slice(low, high))
            out_of.append(slice(low + span.start - tile, high + span.start - tile))
            weight = weight * np.expand_dims(weights[low:high], [a for a in range(len(block)) if a != axis])
        whole[tuple(into)] += values[tuple(out_of)] * weight[..., np.newaxis]
    if whole is None:
        raise ValueError("expected a prediction for each tile of a block, got none")
    return whole
