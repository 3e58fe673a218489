"""Predictions for a split, part by part: samples, large images tile by tile, or windows. Runs in the training process.

Large images are never in memory as a whole.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.data.staged_samples import Samples
from menndl_dask.data.tiling import Block, Tiling, blocks, split_tiles, stitch
from menndl_dask.data.windows import evenly_spaced, pooled, window_starts
from menndl_dask.problem import Problem
from menndl_dask.training.batches import read_ahead
from menndl_dask.training.patches import read_label, read_views
from menndl_dask.training.scoring.significance import PARTS

Array = NDArray[Any]
Predict = Callable[[Sequence[Array]], Array]  # views of a batch to predictions
_BLOCK_BYTES = 2**25  # of the predictions for a block
_UNITS = 2 * PARTS  # at least, so that their scatter can be seen


class Part(NamedTuple):
    """Labels of a part of a split, and the predictions for it."""

    labels: Array  # (sample, …)
    predictions: Array  # (sample, …, class) or (sample, value)
    units: Array  # of each sample the number of the unit that it belongs to
    # labels and predictions as the loss takes them: of windows where those above are of whole images
    for_loss: tuple[Array, Array]
    images: Callable[[], Any]  # reads the first view of each sample, (spatial…, channel)


class SplitPrediction(Protocol):
    """Predictions for a split.

    Attributes
    ----------
    units
        Number of samples, of images with a label each, or of blocks of images: what is scored together.
    images
        Number of samples or images; of units, if there is a single image.
    groups
        Of each unit the number of its group, for the jackknife; None if there are too few.
    predicted
        Number of samples, tiles or windows that a network predicts.
    sources
        Of each unit the number of its sample or image in the split.
    """

    units: int
    images: int
    groups: Array | None
    predicted: int
    sources: Array

    def parts(self, predict: Predict) -> Iterator[Part]:
        """Yield the predictions for the split."""

    def one(self) -> list[Array]:
        """Return a batch of one sample, of each view."""


class SamplePrediction:
    """Predictions for whole samples, in batches; see `SplitPrediction`."""

    def __init__(self, samples: Samples, batch_size: int) -> None:
        self._samples, self._batch_size = samples, batch_size
        self.units = self.images = self.predicted = len(samples)
        self.sources = np.arange(self.units)
        self.groups = _grouped(self.sources, self.units) if self.units >= PARTS else None

    def parts(self, predict: Predict) -> Iterator[Part]:
        """Yield the predictions of each batch."""
        for start in range(0, self.units, self._batch_size):
            chosen = slice(start, start + self._batch_size)
            labels = np.asarray(self._samples.labels[chosen])
            predictions = predict([np.asarray(view[chosen]) for view in self._samples.images])
            units = np.arange(start, start + len(labels))
            images = partial(self._samples.images[0].__getitem__, chosen)
            yield Part(labels, predictions, units, (labels, predictions), images)

    def one(self) -> list[Array]:
        """Return the first sample."""
        return [np.asarray(view[:1]) for view in self._samples.images]


class TiledPrediction:
    """Predictions for images with a label for each pixel, block by block; see `SplitPrediction`.

    A block is stitched from tiles of a patch's size that overlap (`menndl_dask.data.tiling`). Where there are few
    blocks, a unit is a slice of one. With `most`, at most so many tiles are predicted, each a block: one with a pixel
    of each class, as `StagedImage.pixels` has them, and others evenly spaced over all images. They are the same for
    every network. With `whole_images` a block is a whole image, which then must fit into memory.

    Groups for the jackknife are neighbouring images, or neighbouring units if there is only one image.
    """

    def __init__(
        self,
        images: Sequence[StagedImage],
        problem: Problem,
        batch_size: int,
        most: int | None = None,
        whole_images: bool = False,
    ) -> None:
        assert problem.patches is not None
        self._images, self._problem, self._batch_size = images, problem, batch_size
        size = problem.patches.size
        self._tilings = [[Tiling.of(*axis) for axis in zip(image.size, size, strict=True)] for image in images]
        if most is not None and most < sum(math.prod(self._grid(image)) for image in range(len(images))):
            self._blocks = self._chosen(most)
        else:
            pixels = sys.maxsize if whole_images else _BLOCK_BYTES // (4 * problem.facts.outputs)
            self._blocks = [(i, block) for i, each in enumerate(self._tilings) for block in blocks(each, pixels)]
        self._slices = 1 if whole_images else -(-_UNITS // len(self._blocks))
        self.units = len(self._blocks) * self._slices
        self.predicted = sum(_tiles_of(block) for _, block in self._blocks)
        self.images = len(images) if len(images) > 1 else self.units
        self.sources = np.array([image for image, _ in self._blocks]).repeat(self._slices)
        if len(images) > 1:
            self.groups: Array | None = _grouped(self.sources, len(images))
        else:
            self.groups = _grouped(np.arange(self.units), self.units) if self.units > 1 else None

    def parts(self, predict: Predict) -> Iterator[Part]:
        """Yield the predictions of each unit."""
        predictions = _predicted(predict, self._tiles(), self.predicted, self._batch_size)
        for number, (image, block) in enumerate(self._blocks):
            found = stitch(islice(predictions, _tiles_of(block)), block, self._tilings[image])
            start, stop = (np.array([getattr(span, end) for span in block]) for end in ("start", "stop"))
            label = read_label(self._images[image], start, stop - start, self._problem.ignore)
            axis = int(np.argmax(label.shape))
            slices = zip(*(np.array_split(whole, self._slices, axis) for whole in (label, found)), strict=True)
            read = cache(partial(self._sliced, image, start, stop - start, axis))
            for unit, (labels, values) in enumerate(slices, number * self._slices):
                if labels.size:
                    part = labels[np.newaxis], values[np.newaxis]
                    images = partial(_taken, read, unit - number * self._slices)
                    yield Part(*part, np.array([unit]), part, images)

    def one(self) -> list[Array]:
        """Return the first tile."""
        block = tuple(tiling.span_of(0) for tiling in self._tilings[0])
        _, _, views = self._read((0, block))
        return [next(split_tiles(view, block, self._tilings[0]))[np.newaxis] for view in views]

    def _sliced(self, image: int, start: Array, size: Array, axis: int) -> list[Array]:
        """Return the first view of a block, in the slices that are units."""
        whole = read_views(self._images[image], start, size, self._problem.facts.mean)[0]
        return np.array_split(whole, self._slices, axis)

    def _tiles(self) -> Iterator[tuple[Array, ...]]:
        """Yield the views of each tile of each block."""
        for image, block, views in read_ahead(self._read, self._blocks):
            yield from zip(*(split_tiles(view, block, self._tilings[image]) for view in views), strict=True)

    def _read(self, block: tuple[int, Block]) -> tuple[int, Block, list[Array]]:
        image, spans = block
        low, high = (np.array([getattr(span, end) for span in spans]) for end in ("low", "high"))
        return image, spans, read_views(self._images[image], low, high - low, self._problem.facts.mean)

    def _grid(self, image: int) -> list[int]:
        """Return the number of tiles along each axis of an image."""
        return [len(tiling.starts) for tiling in self._tilings[image]]

    def _chosen(self, most: int) -> list[tuple[int, Block]]:
        """Return at most so many tiles, as blocks."""
        chosen: set[tuple[int, ...]] = set()  # image, and place along each axis
        for number in range(max(2, self._problem.facts.outputs)):
            known = [(i, p) for i, image in enumerate(self._images) if len(p := image.pixels.get(number, ()))]
            if known and len(chosen) < most:
                image, positions = known[len(known) // 2]
                pixel = positions[len(positions) // 2]
                centres = [np.array(tiling.starts) + tiling.tile // 2 for tiling in self._tilings[image]]
                chosen.add((image, *(int(abs(c - at).argmin()) for c, at in zip(centres, pixel, strict=True))))
        ends = np.cumsum([math.prod(self._grid(image)) for image in range(len(self._images))])
        for tile in evenly_spaced(int(ends[-1]), most - len(chosen)) if len(chosen) < most else ():
            image = int(np.searchsorted(ends, tile, "right"))
            grid = self._grid(image)
            chosen.add((image, *map(int, np.unravel_index(tile - ends[image] + math.prod(grid), grid))))
        return [
            (image, tuple(tiling.span_of(at) for tiling, at in zip(self._tilings[image], place, strict=True)))
            for image, *place in sorted(chosen)
        ]


class WindowPrediction:
    """Predictions for images with a label each: from their windows, by vote or mean; see `SplitPrediction`.

    The windows are those of `menndl_dask.data.windows`. With `most`, at most so many windows of all images together
    are predicted, but at least one of each image. Groups for the jackknife are neighbouring images.
    """

    def __init__(
        self, images: Sequence[StagedImage], problem: Problem, batch_size: int, most: int | None = None
    ) -> None:
        assert problem.patches is not None
        self._images, self._problem, self._batch_size = images, problem, batch_size
        self._size = np.array(problem.patches.size)
        each = None if most is None else max(1, most // len(images))
        self._starts = [window_starts(image.size, problem.patches.size, each) for image in images]
        self.units = self.images = len(images)
        self.predicted = sum(map(len, self._starts))
        self.sources = np.arange(self.units)
        self.groups = _grouped(self.sources, self.units) if self.units > 1 else None

    def parts(self, predict: Predict) -> Iterator[Part]:
        """Yield the predictions of each image."""
        for image, windows in groupby(self._windows(predict), lambda window: window[0]):
            found = np.stack([predictions for _, predictions in windows])
            label = np.asarray(self._images[image].label)[np.newaxis]
            labels = np.repeat(label, len(found), axis=0)
            of_image = pooled(found, self._problem.large_images or "mean")[np.newaxis]
            views = [self._images[image].views[0]]
            yield Part(label, of_image, np.array([image]), (labels, found), partial(list, views))

    def one(self) -> list[Array]:
        """Return the first window."""
        return [view[np.newaxis] for view in self._read((0, self._starts[0][0]))]

    def _windows(self, predict: Predict) -> Iterator[tuple[int, Array]]:
        """Yield the prediction for each window, with the number of its image."""
        windows = [(image, start) for image, starts in enumerate(self._starts) for start in starts]
        tiles = (tuple(views) for views in read_ahead(self._read, windows))
        yield from zip(
            (image for image, _ in windows), _predicted(predict, tiles, self.predicted, self._batch_size), strict=True
        )

    def _read(self, window: tuple[int, Array]) -> list[Array]:
        image, start = window
        return read_views(self._images[image], start, self._size, self._problem.facts.mean)


def _predicted(predict: Predict, tiles: Iterator[tuple[Array, ...]], count: int, most: int) -> Iterator[Array]:
    """Yield the prediction for each tile, in batches of one size, at most `most`: the network is compiled once."""
    batch_size = -(-count // -(-count // most))
    while taken := list(islice(tiles, batch_size)):
        views = []
        for view in zip(*taken, strict=True):
            batch = np.zeros((batch_size, *view[0].shape), np.float32)
            batch[: len(view)] = view
            views.append(batch)
        yield from predict(views)[: len(taken)]


def _taken(read: Callable[[], Sequence[Any]], number: int) -> list[Any]:
    return [read()[number]]


def _tiles_of(block: Block) -> int:
    return math.prod(len(span.tiles) for span in block)


def _grouped(numbers: Array, count: int) -> Array:
    """Return the group of each of some numbers below `count`: neighbours, as many groups as there are parts."""
    return numbers * min(PARTS, count) // count
