"""Some training images with their labels, for the rules of the plan that look at images. Runs on the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.labels import problem_dataset, read_labels
from menndl_dask.data.store.variable import Block
from menndl_dask.problem import Problem

_IMAGES = 24
_EXTENT = {1: 2**16, 2: 1024, 3: 128}  # pixels along each axis that are read at most, by rank


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Some images of the training split ``(spatial…, channel)``, their labels, and what is known of all images."""

    images: tuple[NDArray[Any], ...]
    labels: tuple[Any, ...]
    dims: tuple[str, ...]
    dtype_kind: str


def read_sample(problem: Problem) -> ImageSample:
    """Read evenly spaced training images of the first view, the middle part of large ones."""
    dataset = problem_dataset(problem)
    train = read_labels(dataset, problem.task, problem.ignore).split(dataset, problem.seed)["train"]
    chosen = train[np.unique(np.linspace(0, len(train) - 1, min(_IMAGES, len(train))).astype(int))]
    view, images, labels = dataset.views[0], [], []
    for position in chosen.tolist():
        middle = tuple(_middle(size, _EXTENT[problem.rank]) for size in view.size(position))
        block = Block(position, position + 1, middle)
        images.append(view.images(block)[0])
        labels.append(dataset.label.read(block)[0])
    return ImageSample(tuple(images), tuple(labels), view.dims[: problem.rank], view.array.dtype.kind)


def _middle(size: int, most: int) -> slice:
    first = max(0, (size - most) // 2)
    return slice(first, first + min(size, most))
