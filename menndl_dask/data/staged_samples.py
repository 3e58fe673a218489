"""Staged samples, memory-mapped from a node's local disk with NumPy only. Runs in the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import DataError


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one split."""

    images: tuple[NDArray[np.float32], ...]  # of each view (sample, spatial…, channel), without NaN
    labels: NDArray[Any]  # class numbers (sample,) or (sample, spatial…), or float32 values (sample, value)

    def __len__(self) -> int:
        return len(self.labels)


def staged_files(directory: Path, split: str, views: int) -> list[Path]:
    """Return the image files of a split, one a view, and then its label file."""
    return [*(directory / f"{split}-view{view}.npy" for view in range(views)), directory / f"{split}-label.npy"]


def open_staged(directory: str | Path, split: str) -> Samples:
    """Open the staged samples of a split (``train``, ``validation`` or ``test``) in a directory from `stage`.

    Raises
    ------
    DataError
        If the samples are missing or damaged.
    """
    folder = Path(directory)
    files = staged_files(folder, split, len(list(folder.glob(f"{split}-view*.npy"))))
    try:
        *images, labels = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: expected staged samples, found none that are readable: {error}") from None
    return Samples(tuple(images), labels)
