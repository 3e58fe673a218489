"""The size of patches, from the sizes of the images, the spacing of their pixels, memory and context. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from menndl_dask.errors import UserError

WHOLE: Mapping[int, int] = {1: 4096, 2: 128 * 128, 3: 32**3}
"""Pixels of an image, by rank, up to which images of equal size are trained on whole."""

PIXELS: Mapping[int, int] = {1: 4096, 2: 128 * 128, 3: 32**3}
"""Pixels of a patch at most, by rank, that a few processor cores train on in reasonable time."""

# A U-Net with two convolutions of width 3 at each of its levels and four halvings sees 188 pixels (Ronneberger et al.
# 2015, doi:10.1007/978-3-319-24574-4_28: 572 pixels in, 388 out, so 92 at either side), and no network of the space
# halves more often. A larger patch adds pixels, but no context.
_CONTEXT = {1: 16384, 2: 192, 3: 128}
_TINY = {1: 256, 2: 64, 3: 16}  # images that are smaller than this are padded, so that they do not make patches tiny
_ENOUGH = {1: 256, 2: 96, 3: 32}  # pixels along the finest axis that are context enough
_DIVIDED = 6  # parts of a patch's size that an image has at least along the axis along which it is divided
# Patches of small images are larger than that, since networks learn more from them: see docs/plan.md.
_SMALL_PATCH = {1: 64, 2: 32, 3: 16}
_LEAST_OF_SMALL = 4  # patches of a small image
_LEAST_PATCHES, _MOST_PATCHES = 64, 2048


def choose_patch(
    smallest: Sequence[int],
    median: Sequence[int],
    spacing: Sequence[float] = (),
    *,
    pixels: int | None = None,
    divided: int | None = None,
    for_parts: bool = False,
) -> tuple[int, ...]:
    """Return the pixels of a patch along each spatial axis.

    A patch covers as much along each axis in the unit of the data: along a coarse axis it has fewer pixels (Isensee et
    al. 2021, doi:10.1038/s41592-020-01008-z). It is as large as the budget of pixels and the context of networks allow,
    and not larger than the smallest image, unless that is tiny. Its sides are multiples of 8, of 4 for short sides of
    volumes, so that networks can halve them.

    Parameters
    ----------
    smallest, median
        Pixels along each spatial axis of the smallest and the median image.
    spacing
        Size of a pixel along each axis; empty for pixels that are as high as wide.
    pixels
        Budget of pixels of a patch; by default that of `PIXELS`.
    divided
        Pixels of an image along the axis along which it must be divided. Each part has room for a patch, unless the
        image is small.
    for_parts
        Return the size that each part has room for also in a small image.

    Examples
    --------
    >>> choose_patch((512, 512), (512, 512))
    (128, 128)
    >>> choose_patch((50, 100, 200), (50, 100, 200), (40, 4, 4))
    (4, 72, 72)
    >>> small = (40, 64, 72)
    >>> choose_patch(small, small, divided=72), choose_patch(small, small, divided=72, for_parts=True)
    ((16, 16, 16), (8, 8, 8))
    """
    rank = len(median)
    budget = pixels or PIXELS[rank]
    limits = [max(low, min(middle, _TINY[rank])) for low, middle in zip(smallest, median, strict=True)]
    scale = [min(spacing) / width for width in spacing] if spacing else [1.0] * rank
    most = _CONTEXT[rank]
    if divided:
        along = scale[int(np.argmax(median))]
        small = 0 if for_parts else min(_SMALL_PATCH[rank], int(divided / _LEAST_OF_SMALL / along))
        most = min(most, max(8, small, int(divided / _DIVIDED / along)))
    chosen = _sides(8, scale, limits)
    for side in range(16, most + 1, 8):
        larger = _sides(side, scale, limits)
        extents = [length / factor for length, factor in zip(larger, scale, strict=True)]
        # where the image leaves no room along one axis, the patch grows along the others only if it needs the context
        is_cubic = max(extents) - min(extents) < 8 / min(scale)
        if math.prod(larger) <= budget and (is_cubic or min(extents) < _ENOUGH[rank]):
            chosen = larger
    return chosen


def _sides(side: int, scale: Sequence[float], limits: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of a patch whose side along the finest axis is given."""
    sides = []
    for factor, limit in zip(scale, limits, strict=True):
        wanted = min(side * factor, limit)
        step = 4 if len(limits) == 3 and wanted < 16 else 8
        fitting = int(wanted) // step * step or step
        sides.append(min(fitting, limit))
    return tuple(sides)


def read_patch(patch: int | str | Sequence[int], rank: int) -> tuple[int, ...] | None:
    """Return the size of a patch that a user gave, one number for all axes or one for each; None for whole images.

    >>> read_patch("whole", 2), read_patch(64, 2), read_patch("16,64,64", 3)
    (None, (64, 64), (16, 64, 64))

    Raises
    ------
    UserError
        If it is none of these.
    """
    expected = f"whole, one number of pixels, or {rank}, one for each spatial axis" if rank > 1 else "whole or a number"
    try:
        if isinstance(patch, str):
            if patch.strip().lower() == "whole":
                return None
            patch = [int(word) for word in patch.replace("x", ",").replace("×", ",").split(",")]
        sides = (int(patch),) if isinstance(patch, int | np.integer) else tuple(int(side) for side in patch)
    except (TypeError, ValueError):
        raise UserError(f"patch: expected {expected}, got {patch!r}") from None
    if sides == (0,):
        return None
    sides = sides * rank if len(sides) == 1 else sides
    if len(sides) != rank or min(sides) < 1:
        raise UserError(f"patch: expected {expected}, got {patch!r}")
    return sides


def patches_per_epoch(pixels: int, size: Sequence[int]) -> int:
    """Return the number of patches that cover the training images once, from 64 to 2048.

    >>> patches_per_epoch(21 * 512 * 512, (128, 128))
    336
    """
    return min(max(_LEAST_PATCHES, -(-pixels // math.prod(size))), _MOST_PATCHES)


def most_tiles(sizes: Sequence[Sequence[int]], size: Sequence[int], most: int) -> int | None:
    """Return `most`, or None if images of these sizes have not more tiles than that.

    Tiles overlap by half of their side.

    >>> most_tiles([(512, 512)], (128, 128), 49), most_tiles([(512, 512)], (128, 128), 48)
    (None, 48)
    """
    tiles = 0
    for image in sizes:
        tiles += math.prod(max(1, -(-2 * n // side) - 1) for n, side in zip(image, size, strict=True))
        if tiles > most:
            return most
    return None
