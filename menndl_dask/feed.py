"""The feed: training samples in chunks, each read while the one before is trained on. Runs in the training process.

The samples are memory-mapped files on a disk of the node, see `staging`; they need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_HELD = 4  # chunks in memory at once: trained on, being read, and a copy of each on its way to a device


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some samples in memory.

    Parameters
    ----------
    images, labels
        Each view, and the labels.
    order
        In which order they are wanted, as places in these arrays.
    """

    images: list[Array]
    labels: Array
    order: Array


def chunk_size(images: Sequence[Array], labels: Array, batch_size: int, memory_bytes: float) -> int:
    """Return how many samples a chunk may have: whole batches, at least one.

    >>> chunk_size([np.zeros((100, 4, 4, 1), "float32")], np.zeros(100, "uint8"), 8, 4 * 65 * 20)
    16
    """
    bytes_each = sum(array[:1].nbytes for array in (*images, labels))
    return max(1, int(memory_bytes / (_HELD * bytes_each)) // batch_size) * batch_size


def chunks(images: Sequence[Array], labels: Array, order: Array, size: int) -> Iterator[Chunk]:
    """Yield the samples of an order, chunk by chunk.

    Parameters
    ----------
    images, labels
        All samples: memory-mapped arrays.
    order
        Positions of those that are wanted.
    size
        Samples in a chunk; the last one may have fewer.
    """

    def read(wanted: Array) -> Chunk:
        places = np.sort(wanted)  # a disk is read forwards
        return Chunk([np.asarray(v[places]) for v in images], np.asarray(labels[places]), places.searchsorted(wanted))

    parts = [order[start : start + size] for start in range(0, len(order), size)]
    with ThreadPoolExecutor(1, "menndl-feed") as reader:
        ahead: list[Future[Chunk]] = []
        for part in parts:
            ahead.append(reader.submit(read, part))
            if len(ahead) == 2:
                yield ahead.pop(0).result()
        for last in ahead:
            yield last.result()
