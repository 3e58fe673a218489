"""One pass over a data set: ranges, missing values and duplicates, in constant memory. Runs on the driver."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.dataset import Dataset
from menndl_dask.data.splits import Positions
from menndl_dask.data.store.variable import Block, blocks
from menndl_dask.moments import FarValue, Moments, far_value, is_far, usual_range

_QUANTILE_VALUES = 200_000  # of each channel, for the usual range (0.5 to 99.5 %)
_MOST_VALUES = 2**29  # that the check reads of images that are larger than a block
_FREQUENT = 1e-3  # share from which on a far value is told as one


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Number of samples with images equal to those of an earlier one, and pairs of positions of such samples."""

    samples: int = 0
    across: tuple[tuple[int, int], ...] = ()  # pairs in different splits
    conflicting: tuple[tuple[int, int], ...] = ()  # pairs with different labels


def read_blocks(dataset: Dataset) -> list[Block]:
    """Return the blocks of a data set that the check reads: all, or evenly spaced ones of very large images."""
    every = -(-sum(variable.values for variable in dataset.variables) // _MOST_VALUES)
    found = list(blocks(*dataset.variables))
    return [block for number, block in enumerate(found) if block.part is None or number % every == 0]


class DatasetScan:
    """Statistics of all samples of a data set, updated block by block."""

    def __init__(self, dataset: Dataset) -> None:
        channels = [view.channels for view in dataset.views]
        self.moments = [Moments(number) for number in channels]
        self._values: list[list[NDArray[Any]]] = [[] for _ in channels]
        self._images = np.zeros(dataset.samples, dtype=np.uint64)
        self._labels = np.zeros(dataset.samples, dtype=np.uint64)
        self._share = max(1, _QUANTILE_VALUES // max(1, len(read_blocks(dataset))))

    def update(self, block: Block, images: Sequence[NDArray[Any]], labels: NDArray[Any]) -> None:
        """Update the statistics with samples, or with a part of one."""
        for view, values in enumerate(images):
            self.moments[view].update(values)
            flat = values.reshape(-1, values.shape[-1])
            self._values[view].append(flat[:: max(1, len(flat) // self._share)].astype(np.float64))
        for index in range(len(labels)):
            place = block.start + index
            self._images[place] = _hash(self._images[place], *(values[index] for values in images))
            self._labels[place] = _hash(self._labels[place], labels[index])

    def outliers(self, view: int) -> list[int]:
        """Return the channels of a view with values far outside of the usual range."""
        moments = self.moments[view]
        found = []
        for channel, column in enumerate(np.concatenate(self._values[view]).T):
            usual = usual_range(column)
            if any(is_far(float(extreme[channel]), *usual) for extreme in (moments.minimum, moments.maximum)):
                found.append(channel)
        return found

    def far_values(self, view: int) -> dict[int, FarValue]:
        """Return the channels of a view in which a single value, rare or frequent, lies far from all others."""
        columns = np.concatenate(self._values[view]).T
        found = {channel: far_value(column) for channel, column in enumerate(columns)}
        return {channel: far for channel, far in found.items() if far is not None and far.share >= _FREQUENT}

    def duplicates(self, parts: Mapping[str, Positions]) -> Duplicates:
        """Return the duplicates among the samples of these splits."""
        split = {int(position): name for name, positions in parts.items() for position in positions}
        equal: dict[int, list[int]] = defaultdict(list)
        for position in sorted(split):
            equal[int(self._images[position])].append(position)
        several = [positions for positions in equal.values() if len(positions) > 1]
        across, conflicting = [], []
        for first, *rest in several:
            across += [(first, other) for other in rest if split[other] != split[first]][:1]
            conflicting += [(first, other) for other in rest if self._labels[other] != self._labels[first]][:1]
        return Duplicates(sum(len(p) - 1 for p in several), tuple(across), tuple(conflicting))


def _hash(*values: NDArray[Any]) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for array in values:
        digest.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(digest.digest(), "little")
