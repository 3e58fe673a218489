"""Staging of images of any size: copied to a node's local disk, or only where to read them. Runs on a worker."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.dataset import Dataset
from menndl_dask.data.labels import class_counts, label_type
from menndl_dask.data.splits import Positions
from menndl_dask.data.staged_images import INDEX, file_of
from menndl_dask.data.store.variable import Block, Variable, sample_blocks
from menndl_dask.problem import SPLITS, Problem

logger = logging.getLogger(__name__)

_SHARE_OF_DISK = 0.25  # of the free space, that staged images may take
_PIXELS_A_CLASS = 1000  # positions that are kept of a class in an image
_PIXELS_TOGETHER = 200_000  # of a class in all images
_LEAST_PIXELS = 10
_LARGEST_DRAW = 10**9  # of NumPy's hypergeometric distribution
_AT_ONCE = 2**20


def write_images(problem: Problem, dataset: Dataset, parts: Mapping[str, Positions], directory: Path) -> None:
    """Write the images of each split, and an index of them, for `open_images`.

    All images of a split and a view are one file, one behind the other, in the type of the data. If they take more than
    a share of the free disk, the index only says where to read them.
    """
    kinds = [_stored(view.dtype) for view in dataset.views] + [np.dtype(label_type(problem))]
    needed = sum(
        kind.itemsize * math.prod(_shape(variable, int(sample), place < len(dataset.views)))
        for place, (variable, kind) in enumerate(zip(dataset.variables, kinds, strict=True))
        for split in SPLITS
        for sample in parts[split]
    )
    copied = needed <= _SHARE_OF_DISK * shutil.disk_usage(directory).free
    index: dict[str, Any] = {"copied": copied, "problem": problem.to_dict(), "kinds": [kind.str for kind in kinds]}
    for split in SPLITS:
        samples = parts[split].tolist()
        shapes = [
            [_shape(variable, sample, place < len(dataset.views)) for sample in samples]
            for place, variable in enumerate(dataset.variables)
        ]
        index[split] = {"samples": samples, "shapes": shapes}
        for place, variable in enumerate(dataset.variables):
            if copied or not variable.axes.spatial:  # labels of whole images are few
                is_view = place < len(dataset.views)
                _copy(variable, samples, shapes[place], kinds[place], is_view, file_of(directory, split, place))
    for split in SPLITS[:2] if problem.by_pixel else ():  # the test split is predicted whole
        drawn = list(_drawn_pixels(problem, dataset.label, parts[split]))
        rows = np.concatenate(drawn) if drawn else np.zeros((0, 2 + dataset.label.rank), dtype=np.int32)
        np.save(directory / f"{split}-pixels.npy", rows)
    (directory / INDEX).write_text(json.dumps(index), encoding="utf-8")
    if not copied:
        logger.info("%s: %.1f GB are read from there: the local disk has no room", problem.data, needed / 1e9)


def _stored(kind: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which values are staged: that of the data, in the machine's order; float32 for float64."""
    return np.dtype("<f4") if kind == np.float64 else kind.newbyteorder("=")


def _shape(variable: Variable, sample: int, is_view: bool) -> tuple[int, ...]:
    return (*variable.size(sample), variable.channels) if is_view else variable.shape_of(sample)


def _copy(
    variable: Variable,
    samples: list[int],
    shapes: list[tuple[int, ...]],
    kind: np.dtype[Any],
    is_view: bool,
    path: Path,
) -> None:
    """Write samples one behind the other in a ``.npy`` file, part by part.

    The disk is asked for the space at first: to write to a mapped file on a full disk would kill the worker.
    """
    lengths = [math.prod(shape) for shape in shapes]
    with path.open("wb") as file:
        header = {"shape": (sum(lengths),), "fortran_order": False, "descr": kind.str}
        np.lib.format.write_array_header_2_0(file, header)
        offset = file.tell()
        if sum(lengths):
            os.posix_fallocate(file.fileno(), offset, sum(lengths) * kind.itemsize)
    for sample, shape, length in zip(samples, shapes, lengths, strict=True):
        for block in sample_blocks((variable,), sample):
            values = (variable.images(block) if is_view else variable.read(block))[0]
            if values.any():  # the file holds zeros
                # mapped anew for each part, so that what was written does not stay in this process's memory
                there = np.memmap(path, kind, "r+", offset, shape or (1,))
                there[block.part or ...] = values
                del there
        offset += length * kind.itemsize


def _drawn_pixels(problem: Problem, label: Variable, samples: Positions) -> Iterator[NDArray[np.int32]]:
    """Yield for each image rows ``(image, class, position…)`` of pixels of each class, drawn evenly."""
    most = min(_PIXELS_A_CLASS, max(_LEAST_PIXELS, _PIXELS_TOGETHER // max(1, len(samples))))
    for number, sample in enumerate(samples.tolist()):
        rng = np.random.default_rng([problem.seed, number])
        reservoirs: dict[int, _Reservoir] = {}
        for block in sample_blocks((label,), sample):
            _draw(label, block, problem, reservoirs, most, rng)
        for kind in sorted(reservoirs):
            pixels = reservoirs[kind].pixels
            head = np.broadcast_to(np.array([number, kind], dtype=np.int32), (len(pixels), 2))
            yield np.concatenate([head, pixels], axis=1)


def _draw(
    label: Variable,
    block: Block,
    problem: Problem,
    reservoirs: dict[int, _Reservoir],
    most: int,
    rng: np.random.Generator,
) -> None:
    """Add a block of labels to the pixels that are kept."""
    values = label.read(block)[0]
    first = np.array([span.start for span in block.part] if block.part else [0] * values.ndim, dtype=np.int32)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        piece = flat[start : start + _AT_ONCE]
        if problem.facts.pixel_values:  # what stands out is drawn more often, as a rare class is
            piece = (piece > _high(problem)).astype(np.uint8)
        counts = class_counts(piece, max(2, problem.facts.outputs), problem.ignore)
        if counts is None:
            raise label.error(f"expected class numbers from 0 to {problem.facts.outputs - 1}, got others since")
        for kind in np.flatnonzero(counts).tolist():
            reservoir = reservoirs.setdefault(kind, _Reservoir(most, values.ndim))
            drawn = reservoir.drawn(int(counts[kind]), rng)
            if len(drawn):
                places = np.flatnonzero(piece == kind)[drawn] + start
                reservoir.add(np.stack(np.unravel_index(places, values.shape), axis=1).astype(np.int32) + first)


def _high(problem: Problem) -> float:
    """Return the value from which on a pixel stands out: a standard deviation above the mean."""
    facts = problem.facts
    return facts.label_mean[0] + math.sqrt(facts.label_variance[0])


class _Reservoir:
    """An even sample of pixels of a stream of them."""

    def __init__(self, most: int, rank: int) -> None:
        self._most, self._seen = most, 0
        self.pixels = np.zeros((0, rank), dtype=np.int32)

    def drawn(self, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return which of so many more pixels are kept, and drop as many of those that were kept."""
        before, self._seen = self._seen, self._seen + number
        wanted = min(self._most, self._seen)
        if self._seen < _LARGEST_DRAW:
            new = int(rng.hypergeometric(number, before, wanted)) if before else wanted
        else:
            new = int(rng.binomial(wanted, number / self._seen))  # nearly the same for so many
        new = min(new, number)
        self.pixels = self.pixels[np.sort(rng.permutation(len(self.pixels))[: wanted - new])]
        return np.sort(rng.choice(number, new, replace=False))

    def add(self, pixels: NDArray[np.int32]) -> None:
        """Add the pixels that were drawn."""
        self.pixels = np.concatenate([self.pixels, pixels])
