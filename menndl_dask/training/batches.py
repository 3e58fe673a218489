"""Where the samples of a training come from, and how they are read ahead of it. Runs in the training process.

The samples are memory-mapped files on a disk of the node (see `menndl_dask.data.staging`); they need not fit into
memory. Patches of larger images come from `menndl_dask.training.patches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.staged_samples import Samples

Array = NDArray[Any]
T = TypeVar("T")
R = TypeVar("R")
_IN_MEMORY = 4  # chunks at once: trained on, being read, and a copy of each on its way to a device


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples in memory."""

    images: Sequence[Array]  # of each view
    labels: Array
    order: Array  # of the samples, as positions in these arrays


class Source(Protocol):
    """Samples to train on, each with a number."""

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""

    def order(self, epoch: int) -> Array:
        """Return the numbers of the samples of an epoch, in the order of training."""

    def read(self, numbers: Array) -> Chunk:
        """Return samples by their numbers."""

    def labels(self, most: int) -> Array:
        """Return the labels of some samples: at most so many numbers, at least one sample."""

    def chunk_size(self, batch_size: int, memory_bytes: float) -> int | None:
        """Return how many samples are read at once, so that they take so much memory; None for all, once."""


class WholeSamples:
    """Staged samples as they are, each once in an epoch, in an order that is drawn anew for each epoch."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self._arrays, self._seed = (*samples.images, samples.labels), seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._arrays[-1])

    def order(self, epoch: int) -> Array:
        """Return the numbers of the samples in an order that depends on seed and epoch only."""
        return np.random.default_rng([self._seed, epoch]).permutation(len(self))

    def read(self, numbers: Array) -> Chunk:
        """Return samples by their numbers."""
        positions = np.sort(numbers)  # a disk is faster when it is read forwards
        is_all = np.array_equal(positions, np.arange(len(self)))  # which need not be copied
        *views, labels = [np.asarray(array if is_all else array[positions]) for array in self._arrays]
        return Chunk(views, labels, positions.searchsorted(numbers))

    def labels(self, most: int) -> Array:
        """Return the labels of samples that are evenly spaced in the split."""
        labels = self._arrays[-1]
        enough = max(1, most // max(1, labels[0].size))
        return np.asarray(labels[:: max(1, len(labels) // enough)])

    def chunk_size(self, batch_size: int, memory_bytes: float) -> int | None:
        """Return None if all samples fit into so much memory, else a number of samples: whole batches, at least one."""
        if sum(array.nbytes for array in self._arrays) <= memory_bytes:
            return None
        bytes_each = sum(array[:1].nbytes for array in self._arrays)
        return max(1, int(memory_bytes / (_IN_MEMORY * bytes_each)) // batch_size) * batch_size


def as_model_input(views: Sequence[Any]) -> Any:
    """Return views as a decoded model takes them: a list, or a single view by itself."""
    return views if len(views) > 1 else views[0]


def chunks(source: Source, order: Array, size: int) -> Iterator[Chunk]:
    """Yield the samples of an order (their numbers), `size` of them in each chunk but the last."""
    return read_ahead(source.read, (order[start : start + size] for start in range(0, len(order), size)))


def read_ahead(read: Callable[[T], R], wanted: Iterable[T]) -> Iterator[R]:
    """Yield what is read for each of the wanted, the next one while the last is used."""
    with ThreadPoolExecutor(1, "menndl-reader") as reader:
        pending: list[Future[R]] = []
        for each in wanted:
            pending.append(reader.submit(read, each))
            if len(pending) == 2:
                yield pending.pop(0).result()
        for last in pending:
            yield last.result()
