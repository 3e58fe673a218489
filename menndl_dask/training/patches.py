"""Patches drawn at random from images of any size, to train on. Runs in the training process.

Images are memory-mapped files, or are read from a Zarr store when they are sliced (`menndl_dask.data.staged_images`).
Only the patches of two chunks are in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.problem import Problem
from menndl_dask.training.batches import Chunk

Array = NDArray[Any]
_CHUNK_BYTES = 2**20  # of the images of a chunk, if that is more than a batch


class PatchSource:
    """Patches of a training split; see `menndl_dask.training.batches.Source`.

    A patch depends only on the seed, the epoch and its number in it, so that a training that was interrupted goes on
    with the same patches. A share `Patches.foreground` of the patches is around a pixel of a class that is not the most
    frequent one: each such class alike, and then each position in `StagedImage.pixels` alike (Isensee et al. 2021,
    doi:10.1038/s41592-020-01008-z). The other patches are drawn from all places where a patch fits into an image:
    images with a label for each pixel in proportion to their number of pixels, images with one label each alike. Where
    half of a patch drawn from all places would be beyond the edge, it is moved inside: else pixels near the edges,
    which are many in thin volumes, would hardly be seen.

    Values beyond the edge of an image, where it is smaller than a patch or within the margin, are mirrored. Labels of
    such pixels are the problem's `ignore`, or are mirrored too if it has none. Missing values (NaN) become the mean of
    their channel.

    Parameters
    ----------
    images
        The training split.
    problem
        With `Problem.patches`.
    seed
        Of the draws.
    margin
        Pixels at each side of a patch, along each axis, that augmentation needs; none by default. Patches are larger by
        them.
    """

    def __init__(
        self, images: Sequence[StagedImage], problem: Problem, seed: int, margin: Sequence[int] | None = None
    ) -> None:
        assert problem.patches is not None
        self._images, self._problem, self._patches, self._seed = images, problem, problem.patches, seed
        self._size = np.array(self._patches.size)
        self._margin = np.zeros_like(self._size) if margin is None else np.array(margin)
        self._of_pixels = problem.by_pixel
        sizes = np.array([image.size for image in images])
        # along an axis on which an image is smaller than a patch, it is in the middle of the patch
        room = sizes - self._size
        self._first = np.where(room < 0, room // 2, 0)
        self._last = np.maximum(room, self._first)
        weights = sizes.prod(axis=1, dtype=float) if self._of_pixels else np.ones(len(images))
        self._cumulated = np.cumsum(weights / weights.sum())
        self._pixels = _positions(images, problem) if self._of_pixels and self._patches.foreground else []

    def __len__(self) -> int:
        """Return the number of patches in an epoch."""
        return self._patches.per_epoch

    def order(self, epoch: int) -> Array:
        """Return the numbers of the patches of an epoch."""
        return np.arange(len(self)) + epoch * len(self)

    def labels(self, most: int) -> Array:
        """Return the labels of the first patches, without their margin."""
        each = math.prod(self._patches.size) if self._of_pixels else 1
        places = [self._draw(number) for number in range(min(len(self), max(1, most // each)))]
        return np.stack([self._label(number, np.array(start), self._size) for number, *start in places])

    def chunk_size(self, batch_size: int, memory_bytes: float) -> int:
        """Return the number of patches that are read at once: a megabyte of them, at least a batch."""
        shape = self._size + 2 * self._margin
        bytes_each = 4 * int(shape.prod()) * sum(view[-1] for view in self._problem.facts.input_shapes)
        return max(1, int(min(_CHUNK_BYTES, memory_bytes) / bytes_each) // batch_size) * batch_size

    def read(self, numbers: Array) -> Chunk:
        """Return patches by their numbers, in the order of their places in the images."""
        places = np.array([self._draw(int(number)) for number in numbers])
        reading = np.lexsort(places.T[::-1])
        read = [self._read(place[0], place[1:]) for place in places[reading]]
        views = [np.stack(view) for view in zip(*(views for views, _ in read), strict=True)]
        order = np.empty(len(reading), int)
        order[reading] = np.arange(len(reading))
        return Chunk(views, np.stack([label for _, label in read]), order)

    def _draw(self, number: int) -> tuple[int, ...]:
        """Return the image of a patch, and its first pixel along each axis."""
        rng = np.random.default_rng([self._seed, *divmod(number, len(self))])
        if self._pixels and rng.random() < self._patches.foreground:
            images, positions = self._pixels[rng.integers(len(self._pixels))]
            chosen = rng.integers(len(images))
            image = int(images[chosen])
            start = np.clip(positions[chosen] - self._size // 2, self._first[image], self._last[image])
        else:
            image = min(int(self._cumulated.searchsorted(rng.random(), "right")), len(self._images) - 1)
            first, last = self._first[image], self._last[image]
            start = np.clip(rng.integers(first - self._size // 2, last + self._size // 2 + 1), first, last)
        return (image, *start.tolist())

    def _read(self, number: int, start: Array) -> tuple[list[Array], Array]:
        start, size = start - self._margin, self._size + 2 * self._margin
        views = read_views(self._images[number], start, size, self._problem.facts.mean)
        return views, self._label(number, start, size)

    def _label(self, number: int, start: Array, size: Array) -> Array:
        image = self._images[number]
        if self._of_pixels:
            return read_label(image, start, size, self._problem.ignore)
        return np.asarray(image.label, np.float32 if self._problem.task == "regression" else np.int32)


def read_views(image: StagedImage, start: Array, size: Array, means: Sequence[Sequence[float]]) -> list[Array]:
    """Return a part of an image's views as float32, mirrored beyond its edges, with the channel's mean for NaN.

    Parameters
    ----------
    image
        An image of any size.
    start, size
        First pixel, which may be negative, and number of pixels along each axis.
    means
        Of each view and channel.
    """
    inside, pads = _inside(image.size, start, size)
    views = []
    for view, mean in zip(image.views, means, strict=True):
        found = np.asarray(view[inside])
        values = found.astype(np.float32)
        if found.dtype.kind == "f":
            np.copyto(values, np.asarray(mean, dtype=np.float32), where=np.isnan(values))
        views.append(np.pad(values, [*pads, (0, 0)], mode="reflect") if pads else values)
    return views


def read_label(image: StagedImage, start: Array, size: Array, ignore: int | None) -> Array:
    """Return the labels of a part of an image, int32 or float32: beyond its edges `ignore`, or mirrored without one."""
    inside, pads = _inside(image.size, start, size)
    label = np.asarray(image.label[inside])
    label = label.astype(np.float32 if label.dtype.kind == "f" else np.int32)
    if not pads:
        return label
    if ignore is None:
        return np.pad(label, pads, mode="reflect")
    return np.pad(label, pads, constant_values=ignore)


def _inside(whole: Sequence[int], start: Array, size: Array) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
    """Return the part that is inside an image, and the pixels beyond its edges along each axis; empty if none are."""
    parts, pads = [], []
    for pixels, first, count in zip(whole, start.tolist(), size.tolist(), strict=True):
        low, high = max(first, 0), min(first + count, pixels)
        parts.append(slice(low, high))
        pads.append((low - first, first + count - high))
    return tuple(parts), pads if any(map(any, pads)) else []


def _positions(images: Sequence[StagedImage], problem: Problem) -> list[tuple[Array, Array]]:
    """Return for each class but the most frequent one the positions that are known, and the image of each."""
    counts = problem.facts.class_counts or (1, 0)  # of values: those that stand out are number 1
    found = []
    for number in range(len(counts)):
        of_class = [np.asarray(image.pixels.get(number, ()), np.int32).reshape(-1, problem.rank) for image in images]
        if number != int(np.argmax(counts)) and any(map(len, of_class)):
            found.append((np.repeat(np.arange(len(images)), list(map(len, of_class))), np.concatenate(of_class)))
    return found
