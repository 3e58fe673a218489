"""Sizes of images, before and after a window has moved over them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import spread
from menndl_dask.genome.layer import Shape, Window

INTERPOLATIONS = {"bilinear": 1, "nearest": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}  # pixels read to each side


def image_size(shape: Shape, ranks: Sequence[int] = (1, 2, 3)) -> Shape:
    """Return the pixels along each axis of an image.

    Raises
    ------
    InfeasibleError
        If the shape is that of features, or of an image with a number of axes that is not in `ranks`.
    """
    rank = len(shape) - 1
    if rank < 1:
        raise InfeasibleError(f"expected an image, got {shape[0]} features")
    if rank not in ranks:
        raise InfeasibleError(f"exists for images of {' or '.join(map(str, ranks))} axes, got {rank}")
    return shape[:-1]


def window_area(window: Shape, rank: int) -> int:
    """Return the number of pixels under a window on an image of so many axes."""
    return math.prod(spread(window, rank))


def window_reach(window: Shape, dilation: Shape, rank: int) -> Shape:
    """Return how many pixels a window covers along each axis."""
    return tuple((k - 1) * d + 1 for k, d in zip(spread(window, rank), spread(dilation, rank), strict=True))


def size_after_window(spatial: Shape, reach: Shape, stride: Shape, padding: str) -> Shape:
    """Return the sizes after a window that covers `reach` pixels has moved over an image.

    Raises
    ------
    InfeasibleError
        If the window is larger than the image, and the image is not padded.
    """
    strides = spread(stride, len(spatial))
    if padding != "valid":
        return tuple(-(-n // s) for n, s in zip(spatial, strides, strict=True))
    for n, r in zip(spatial, reach, strict=True):
        if r > n:
            raise InfeasibleError(f"expected a window that fits into {n} pixels, got one of {r}")
    return tuple((n - r) // s + 1 for n, r, s in zip(spatial, reach, strides, strict=True))


def sliding_windows(spatial: Shape, reach: Shape, stride: Shape, padding: str) -> tuple[Window, ...]:
    """Return which pixels are read by a window that covers `reach` pixels and moves over an image of these sizes."""
    found = []
    for n, r, s in zip(spatial, reach, spread(stride, len(spatial)), strict=True):
        before = max(0, (-(-n // s) - 1) * s + r - n) // 2 if padding == "same" else (r - 1) * (padding == "causal")
        found.append(Window(step=s, first=-before, last=r - 1 - before))
    return tuple(found)


def enlarging_windows(factors: Shape, interpolation: str) -> tuple[Window, ...]:
    """Return which pixels are read where an image is enlarged so many times along each axis."""
    if interpolation == "nearest":
        return tuple(Window(parts=f) for f in factors)
    if interpolation == "bilinear":
        return tuple(Window(2, 2 * f, 1 - f, f) for f in factors)  # the two pixels whose centres are nearest
    return tuple(resizing_window(1, f, interpolation) for f in factors)


def any_pixel(spatial: Shape) -> tuple[Window, ...]:
    """Return that each pixel may read any other one of an image of these sizes."""
    return tuple(Window(first=-max(spatial), last=max(spatial)) for _ in spatial)


def resizing_window(before: int, after: int, interpolation: str) -> Window:
    """Return which pixels are read where an axis of `before` pixels gets `after` pixels by interpolation."""
    more = 2 * after * (INTERPOLATIONS[interpolation] - 1)
    # from the one whose centre is before that of the new pixel to the one after it, and as many more on each side
    return Window(2 * before, 2 * after, before - after - more, before + after + more)
