"""The feed: every sample in its place, never more than a few chunks in memory."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.staged_samples import Samples
from menndl_dask.training.batches import Chunk, WholeSamples, chunks

IMAGES = [np.arange(40.0, dtype="float32").reshape(20, 2), np.arange(20, dtype="float32")[:, None] + 100]
LABELS = np.arange(20)
SOURCE = WholeSamples(Samples(tuple(IMAGES), LABELS), seed=0)


@pytest.mark.parametrize("size", [1, 6, 20, 64])
def test_the_samples_come_in_the_order_that_was_asked_for(size: int) -> None:
    order = np.random.default_rng(0).permutation(20)[:17]
    parts = list(chunks(SOURCE, order, size))
    assert [len(part.order) for part in parts] == [min(size, 17 - start) for start in range(0, 17, size)]
    assert np.concatenate([part.labels[part.order] for part in parts]).tolist() == order.tolist()
    for view, name in zip(IMAGES, range(2), strict=True):
        assert (np.concatenate([part.images[name][part.order] for part in parts]) == view[order]).all()


def test_the_next_chunk_is_read_while_one_is_used() -> None:
    class Counted(WholeSamples):
        """Samples that count how often they were read."""

        reads = 0

        def read(self, numbers: np.ndarray) -> Chunk:
            self.reads += 1
            return super().read(numbers)

    source = Counted(Samples(tuple(IMAGES), LABELS), seed=0)
    feed = chunks(source, np.arange(20), 5)
    next(feed)
    feed.close()  # which waits for what is being read
    assert source.reads == 2


def test_nothing_asked_for_is_nothing() -> None:
    assert not list(chunks(SOURCE, np.arange(0), 4))


def test_a_chunk_has_at_least_one_batch() -> None:
    assert SOURCE.chunk_size(4, memory_bytes=0.0) == 4
