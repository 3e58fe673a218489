"""Training samples in chunks, each read from disk while the one before is trained on. Runs in the training process.

The samples are memory-mapped files on a disk of the node (see `menndl_dask.data.staging`); they need not fit into
memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_IN_MEMORY = 4  # chunks at once: trained on, being read, and a copy of each on its way to a device


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples in memory."""

    images: list[Array]  # of each view
    labels: Array
    order: Array  # of the samples, as positions in these arrays


def as_model_input(views: Sequence[Any]) -> Any:
    """Return views as a decoded model takes them: a list, or a single view by itself."""
    return views if len(views) > 1 else views[0]


def chunk_size(images: Sequence[Array], labels: Array, batch_size: int, memory_bytes: float) -> int:
    """Return the number of samples in a chunk: whole batches, at least one.

    >>> chunk_size([np.zeros((100, 4, 4, 1), "float32")], np.zeros(100, "uint8"), 8, 4 * 65 * 20)
    16
    """
    bytes_each = sum(array[:1].nbytes for array in (*images, labels))
    return max(1, int(memory_bytes / (_IN_MEMORY * bytes_each)) // batch_size) * batch_size


def chunks(images: Sequence[Array], labels: Array, order: Array, size: int) -> Iterator[Chunk]:
    """Yield the samples of an order (their positions), `size` of them in each chunk but the last."""

    def read(wanted: Array) -> Chunk:
        positions = np.sort(wanted)  # a disk is faster when it is read forwards
        views = [np.asarray(view[positions]) for view in images]
        return Chunk(views, np.asarray(labels[positions]), positions.searchsorted(wanted))

    with ThreadPoolExecutor(1, "menndl-reader") as reader:
        pending: list[Future[Chunk]] = []
        for start in range(0, len(order), size):
            pending.append(reader.submit(read, order[start : start + size]))
            if len(pending) == 2:
                yield pending.pop(0).result()
        for last in pending:
            yield last.result()
