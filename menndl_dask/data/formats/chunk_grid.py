"""Sizes of the chunks of a store, and the blocks in which it is written. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from menndl_dask.data.formats.samples import Region, Samples, whole

CHUNK_BYTES = 4 * 2**20
"""Most bytes of a chunk before it is compressed."""

_BLOCK_BYTES = 32 * 2**20
_BLOCK_CHUNKS = 8  # along the samples


def samples_in_chunk(size: Sequence[int], itemsize: int, number: int) -> int:
    """Return how many samples of a size lie in a chunk: some megabytes; 1 for large images.

    >>> samples_in_chunk((512, 512), 1, 40), samples_in_chunk((4096, 4096), 1, 40)
    (16, 1)
    """
    each = max(1, itemsize * math.prod(size))
    return max(1, min(number, CHUNK_BYTES // each))


def chunk_of_image(size: Sequence[int], itemsize: int, channel: int | None = None) -> tuple[int, ...]:
    """Return the shape of a chunk within a sample: all of it, or sides of a power of two, of 1 to 4 megabytes.

    `channel` is the position of the channels, which are divided last.

    >>> chunk_of_image((100, 200), 4), chunk_of_image((30000, 20000, 3), 1, 2), chunk_of_image((50, 2048, 2048), 1)
    ((100, 200), (1024, 1024, 3), (50, 256, 256))
    """
    sides = [max(1, length) for length in size]
    spatial = [axis for axis in range(len(sides)) if axis != channel]
    while itemsize * math.prod(sides) > CHUNK_BYTES:
        longest = max((axis for axis in spatial if sides[axis] > 1), key=lambda axis: sides[axis], default=channel)
        if longest is None or sides[longest] == 1:
            break
        sides[longest] = 2 ** math.ceil(math.log2(sides[longest]) - 1)
    return tuple(sides)


def blocks(samples: Samples, chunk: Sequence[int], itemsize: int) -> Iterator[tuple[int, int, Region]]:
    """Yield ``(start, stop, region)`` of blocks that together are all values; each holds whole chunks.

    `chunk` begins with the number of samples. A block has at most some tens of megabytes; all samples have one size.
    """
    number, size = len(samples), samples.size(0)
    if not number:
        return
    block = [min(side, length) for side, length in zip(chunk, (number, *size), strict=True)]
    for axis in reversed(range(len(block))):  # rows of an image are read together, then samples
        length = (number, *size)[axis]
        room = _BLOCK_BYTES // max(1, itemsize * math.prod(block))
        if room > 1:
            block[axis] = min(length, block[axis] * (room if axis else min(room, _BLOCK_CHUNKS)))
    starts = [range(0, length, side) for length, side in zip((number, *size), block, strict=True)]
    for corner in product(*starts):
        ends = [min(start + side, length) for start, side, length in zip(corner, block, (number, *size), strict=True)]
        yield corner[0], ends[0], tuple(map(slice, corner[1:], ends[1:]))


def sample_blocks(samples: Samples) -> Iterator[tuple[int, int, Region]]:
    """Yield ``(start, stop, region)`` of blocks of samples that may differ in size, to look at all values once."""
    start = 0
    while start < len(samples):
        size = samples.size(start)
        each = max(1, samples.dtype.itemsize * math.prod(size))
        stop = start + 1
        while stop < len(samples) and (stop - start + 1) * each <= _BLOCK_BYTES and samples.size(stop) == size:
            stop += 1
        if each <= _BLOCK_BYTES:
            yield start, stop, whole(size)
        else:
            one = chunk_of_image(size, samples.dtype.itemsize)
            for corner in product(*(range(0, length, side) for length, side in zip(size, one, strict=True))):
                region = tuple(
                    slice(low, min(low + side, length)) for low, side, length in zip(corner, one, size, strict=True)
                )
                yield start, stop, region
        start = stop
