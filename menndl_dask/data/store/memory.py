"""Whether what a file declares can be read into memory, before memory is taken for it. Runs anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import psutil

from menndl_dask.errors import DataError

_SHARE = 0.8  # of the free memory


def check_fits(where: object, shape: Sequence[int], itemsize: int, what: str = "an image") -> None:
    """Raise `DataError` if so many values, which are read in one go, do not fit into the free memory.

    A file of a hundred bytes can declare an image of a million million pixels.
    """
    needed = math.prod(map(int, shape)) * itemsize
    free = psutil.virtual_memory().available
    if needed > _SHARE * free:
        expected = f"{what} that fits into the free memory ({free / 1e9:.1f} GB)"
        raise DataError(f"{where}: expected {expected}, got {needed / 1e9:.4g} GB of shape {tuple(shape)}")
