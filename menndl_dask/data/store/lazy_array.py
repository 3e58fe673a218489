"""An image of a Zarr store of which a part is read when it is sliced. Runs in the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.store.variable import Block, Variable


@dataclass(frozen=True, slots=True)
class LazyArray:
    """A sample of a variable, as an array: ``(spatial…, channel)`` for images, ``(spatial…)`` for labels."""

    variable: Variable
    sample: int
    dtype: np.dtype[Any]
    is_image: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        size = self.variable.size(self.sample)
        return (*size, self.variable.channels) if self.is_image else size

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part: numbers, slices without steps and ``...`` along the axes."""
        shape = self.shape
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            place = given.index(Ellipsis)
            given = (*given[:place], *[slice(None)] * (len(shape) - len(given) + 1), *given[place + 1 :])
        given = (*given, *[slice(None)] * (len(shape) - len(given)))
        spans: list[slice] = []
        kept: list[slice | int] = []
        for piece, length in zip(given, shape, strict=True):
            if isinstance(piece, slice):
                low, high, _ = slice(piece.start, piece.stop).indices(length)
                spans.append(slice(low, max(low, high)))
                kept.append(slice(None, None, piece.step))
            else:
                low = range(length)[piece]
                spans.append(slice(low, low + 1))
                kept.append(0)
        rank = self.variable.rank
        block = Block(self.sample, self.sample + 1, tuple(spans[:rank]))
        values = (self.variable.images(block) if self.is_image else self.variable.read(block))[0]
        part: NDArray[Any] = values[(..., *spans[rank:])][tuple(kept)].astype(self.dtype, copy=False)
        return part
