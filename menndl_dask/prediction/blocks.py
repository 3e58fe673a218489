"""Block-wise prediction: read a block of images, apply a network, write its output. Runs on a worker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from menndl_dask.data.dataset import fill_missing
from menndl_dask.data.resize import resize_weights, weigh, weighted_mean
from menndl_dask.data.tiling import Block, Tiling, split_tiles, stitch
from menndl_dask.data.windows import pooled, window_starts
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.prediction.images import ImageSource
from menndl_dask.prediction.network import ModelSpec, get_network

Array = NDArray[Any]
_VALUES = 2**24  # of an image of which windows are taken: a larger one is read window by window


class Piece(NamedTuple):
    """Some images of equal size, or a block of them."""

    sources: tuple[ImageSource, ...]  # of each view
    start: int  # the images start:stop of these sources
    stop: int
    block: Block = ()  # empty for a network that predicts for whole images
    tilings: tuple[Tiling, ...] = ()  # along each axis
    group: str = ""  # of the store that is written
    first: int = 0  # number of the first image of these sources in that group

    @property
    def samples(self) -> slice:
        """The images in the sources."""
        return slice(self.start, self.stop)

    @property
    def written(self) -> slice:
        """The images in the store that is written."""
        return slice(self.first + self.start, self.first + self.stop)


@dataclass(frozen=True, slots=True)
class Job:
    """Settings that all pieces share; sent to the workers."""

    model: ModelSpec
    batch: int  # tiles, windows or images in a batch; constant, so that the network is compiled once
    outputs: int  # of the network for each pixel or image
    classes: tuple[str, ...] | None  # their names; None for a regression network
    probabilities: bool = False  # write the probability of each class instead of the most likely one
    # for each pixel: "tiles"; for each image: "whole", or `Problem.large_images`
    how: str = "tiles"
    sizes: tuple[tuple[int, ...], ...] = ()  # pixels along each axis that the network sees, of each view
    means: tuple[tuple[float, ...], ...] | None = None  # of each view and channel, for missing values

    @property
    def variable(self) -> str:
        """Name of the variable that is written."""
        return "probability" if self.probabilities else "prediction"

    @property
    def dtype(self) -> str:
        """Data type of the variable that is written."""
        if self.classes is None or self.probabilities:
            return "float32"
        return "uint8" if self.fill == 255 else "uint16"

    @property
    def fill(self) -> int:
        """Class number of pixels without a prediction, where the image is NaN."""
        return 255 if len(self.classes or ()) <= 255 else 65535


def predict_pieces(pieces: Sequence[Piece], job: Job) -> None:
    """Read the images, apply the network, and write the predictions to the target.

    With outputs for each pixel there is one piece.

    Raises
    ------
    UserError
        If the images cannot be read, the target cannot be written, or the network fails.
    """
    _write(pieces, job, predicted_values(pieces, job))


def predicted_values(pieces: Sequence[Piece], job: Job) -> Array:
    """Return the predictions for some pieces: values, probabilities, or the most likely class.

    Raises
    ------
    UserError
        If the images cannot be read, or the network fails.
    """
    try:
        outputs = _predict_pixels(pieces[0], job) if job.how == "tiles" else _predict_images(pieces, job)
    except TrainerError as error:
        raise UserError(f"{job.model.name}: the network failed: {error}") from error
    return _to_output(job, outputs)


def _predict_pixels(piece: Piece, job: Job) -> NDArray[np.float32]:
    """Return the outputs for each pixel of a block of some images."""
    pixels = [span.read for span in piece.block]
    views = [source.read(piece.samples, pixels) for source in piece.sources]
    empty = np.logical_and.reduce([np.isnan(view).all(axis=-1) for view in views])
    tiles = (
        tile
        for images in zip(*_filled(views, job), strict=True)
        for tile in zip(*[split_tiles(image, piece.block, piece.tilings) for image in images], strict=True)
    )
    predicted = get_network(job.model).predict(tiles, job.batch)
    count = math.prod(len(span.tiles) for span in piece.block)
    images = range(piece.start, piece.stop)
    outputs = np.stack([stitch(islice(predicted, count), piece.block, piece.tilings) for _ in images])
    inside = [slice(span.start - span.low, span.stop - span.low) for span in piece.block]
    outputs[empty[(slice(None), *inside)]] = np.nan
    return outputs


def _predict_images(pieces: Sequence[Piece], job: Job) -> NDArray[np.float32]:
    """Return the outputs for each image of some pieces."""
    counts: list[int] = []  # windows of each image
    inputs = (view for piece in pieces for view in _inputs(piece, job, counts))
    outputs = iter(list(get_network(job.model).predict(inputs, job.batch)))  # then the counts are known
    each = [np.stack(list(islice(outputs, count))) for count in counts]
    return np.stack([pooled(found, job.how) if job.how in ("vote", "mean") else found[0] for found in each])


def _inputs(piece: Piece, job: Job, counts: list[int]) -> Iterator[tuple[Array, ...]]:
    """Yield what the network sees of each image, and note how many inputs each image has."""
    for sample in range(piece.start, piece.stop):
        one = slice(sample, sample + 1)
        if job.how in ("vote", "mean"):
            starts = window_starts(piece.sources[0].size, job.sizes[0])
            counts.append(len(starts))
            views = [_Windows(source, one) for source in piece.sources]
            for start in starts.tolist():
                yield tuple(_filled([view.read(start, job.sizes[0]) for view in views], job))
            continue
        counts.append(1)
        if job.how == "resize":
            images = [_resized(source, one, size) for source, size in zip(piece.sources, job.sizes, strict=True)]
        else:
            images = [source.read(one)[0] for source in piece.sources]
        yield tuple(_filled(images, job))


def _resized(source: ImageSource, sample: slice, size: Sequence[int]) -> Array:
    """Return an image resized as in training; it is read in parts along its first axis."""
    weights = [resize_weights(before, after) for before, after in zip(source.size, size, strict=True)]
    total, known = np.zeros((2, *size, source.channels))
    rows = max(1, _VALUES * source.size[0] // (math.prod(source.size) * source.channels))
    for start in range(0, source.size[0], rows):
        part = slice(start, min(start + rows, source.size[0]))
        values = source.read(sample, [part, *(slice(0, n) for n in source.size[1:])])[0].astype(np.float64)
        there = ~np.isnan(values)
        along = [weights[0][:, part], *weights[1:]]
        total += weigh(np.where(there, values, 0.0), along)
        known += weigh(there.astype(np.float64), along)
    return weighted_mean(total, known)


class _Windows:
    """Windows of an image, which is in memory unless it is very large."""

    def __init__(self, source: ImageSource, sample: slice) -> None:
        self._source, self._sample = source, sample
        values = math.prod(source.shape) // source.samples
        self._whole = source.read(sample)[0] if values <= _VALUES else None

    def read(self, start: Sequence[int], size: Sequence[int]) -> Array:
        """Return a window; where it is beyond the image, the image is continued by reflection."""
        inside, pads = [], []
        for first, count, pixels in zip(start, size, self._source.size, strict=True):
            low, high = max(first, 0), min(first + count, pixels)
            inside.append(slice(low, high))
            pads.append((low - first, first + count - high))
        found = self._source.read(self._sample, inside)[0] if self._whole is None else self._whole[tuple(inside)]
        return np.pad(found, [*pads, (0, 0)], mode="reflect")


def _filled(views: Sequence[Array], job: Job) -> list[Array]:
    """Return views with the mean of the channel for missing values, as in training, if it is known."""
    if job.means is None:
        return list(views)
    return [fill_missing(view, mean) for view, mean in zip(views, job.means, strict=True)]


def _to_output(job: Job, outputs: NDArray[np.float32]) -> Array:
    """Return values, probabilities, or the most likely class."""
    if job.classes is None:
        return outputs
    if job.outputs == 1:  # the probability of the second of two classes
        outputs = np.concatenate([1 - outputs, outputs], axis=-1)
    if job.probabilities:
        return outputs
    known = np.isfinite(outputs).all(axis=-1)
    return np.where(known, outputs.argmax(axis=-1), job.fill).astype(job.dtype)


def _write(pieces: Sequence[Piece], job: Job, values: Array) -> None:
    """Write the outputs for some pieces, of which there is one if there is an output for each pixel."""
    first, last = pieces[0], pieces[-1]
    index: list[Any] = [slice(first.written.start, last.written.stop), *(span.predicted for span in first.block)]
    if job.how == "tiles" and first.sources[0].axes.sample is None:
        values, index = values[0], index[1:]
    path = "/".join(word for word in (job.model.target, first.group, job.variable) if word)
    try:
        array = zarr.open_array(path, mode="r+")
        if job.how != "tiles" and array.ndim == values.ndim - 1:  # one image without a dimension of samples
            values, index = values[0], index[1:]
        array[(*index, ...)] = values
    except OSError as error:
        raise UserError(f"{job.model.target}: cannot be written: {error}") from error
