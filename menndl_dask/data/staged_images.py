"""Staged images of any size, from which patches are drawn. Runs in the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Readable(Protocol):
    """An array of which a part is read when it is sliced: memory-mapped, or in a Zarr store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a part of the array."""


@dataclass(frozen=True, slots=True)
class StagedImage:
    """An image, or a part of one, of one split.

    Parameters
    ----------
    views
        Of each view the values ``(spatial…, channel)`` in the type of the data, with NaN where a value is missing.
    label
        Class numbers ``(spatial…)``; for a task with a label for each image the class number ``()`` or the values
        ``(value,)``.
    pixels
        For segmentation: of each class some positions ``(pixel, axis)`` of its pixels in this image.
    """

    views: tuple[Readable, ...]
    label: Readable
    pixels: Mapping[int, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return self.views[0].shape[:-1]
