"""Staged samples, memory-mapped from a node's local disk with NumPy only. Runs in the trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import DataError


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one split.

    Parameters
    ----------
    images
        For each view ``(sample, spatial…, channel)``, float32, without NaN.
    labels
        Class numbers ``(sample,)`` or ``(sample, spatial…)``, or float32 values ``(sample, value)``.
    """

    images: tuple[NDArray[np.float32], ...]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)


def staged_files(directory: Path, split: str, views: int) -> tuple[list[Path], Path]:
    """Return the image files (one a view) and the label file of a split."""
    return [directory / f"{split}-view{view}.npy" for view in range(views)], directory / f"{split}-label.npy"


def open_staged(directory: str | Path, split: str) -> Samples:
    """Open the staged samples of a split, memory-mapped.

    Parameters
    ----------
    directory
        Directory from `stage`.
    split
        ``train``, ``validation`` or ``test``.

    Raises
    ------
    DataError
        If the samples are missing or damaged.
    """
    folder = Path(directory)
    images, labels = staged_files(folder, split, len(list(folder.glob(f"{split}-view*.npy"))))
    return Samples(tuple(_mapped(images)), _mapped([labels])[0])


def _mapped(files: Sequence[Path]) -> list[NDArray[Any]]:
    try:
        return [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    except (OSError, ValueError) as error:
        raise DataError(f"{files[0].parent}: expected staged samples, found none that are readable: {error}") from None
