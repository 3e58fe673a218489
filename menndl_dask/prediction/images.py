"""Images of any size in Zarr, as input for a prediction. Runs on the driver and on workers.

Images are read block by block, so that they may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import CHANNEL, SAMPLE, SPATIAL, Axes, format_dims
from menndl_dask.data.dataset import find_variable, open_store
from menndl_dask.errors import DataError, one_line


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A variable of a Zarr store, or a bare Zarr array, which has no name; opened anew wherever a part is read."""

    path: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: Axes

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return tuple(self.shape[axis] for axis in self.axes.spatial)

    @property
    def samples(self) -> int:
        """Number of images."""
        return 1 if self.axes.sample is None else self.shape[self.axes.sample]

    @property
    def kept_dims(self) -> tuple[str, ...]:
        """Names of the sample and the spatial dimensions."""
        return tuple(self.dims[axis] for axis in self.axes.order if axis != self.axes.channel)

    def read(self, samples: slice, pixels: Sequence[slice]) -> NDArray[Any]:
        """Return a part of the images, ``(sample, spatial…, channel)``.

        Raises
        ------
        DataError
            If the part cannot be read.
        """
        wanted = dict(zip((self.axes.sample, *self.axes.spatial), (samples, *pixels), strict=True))
        index = tuple(wanted.get(axis, slice(None)) for axis in range(len(self.shape)))
        try:
            if self.name:
                values = open_store(self.path)[self.name].isel(dict(zip(self.dims, index, strict=True))).values
            else:
                values = np.asarray(zarr.open_array(self.path, mode="r")[index])
        except DataError:
            raise
        except Exception as error:  # storage and codecs raise any exception
            bounds = (s.indices(n) for s, n in zip(index, self.shape, strict=True))
            part = ", ".join(f"{low}:{high}" for low, high, _ in bounds)
            raise DataError(f"{self.label}: [{part}] cannot be read: {one_line(error)}") from error
        values = values.transpose(self.axes.order)
        values = values if self.axes.sample is not None else values[np.newaxis]
        return values if self.axes.channel is not None else values[..., np.newaxis]

    def coordinates(self) -> dict[str, xr.DataArray]:
        """Return the one-dimensional coordinates of the sample and spatial dimensions."""
        if not self.name:
            return {}
        array = open_store(self.path)[self.name]
        kept = set(self.kept_dims)
        return {str(k): c.load() for k, c in array.coords.items() if c.ndim == 1 and set(c.dims) <= kept}

    @property
    def label(self) -> str:
        """Path and name, for error messages."""
        return f"{self.path}: {self.name}" if self.name else self.path


def open_images(path: str, name: str, rank: int, channels: int) -> ImageSource:
    """Open a variable, or a bare array, for a network with so many spatial axes and channels.

    Raises
    ------
    DataError
        If there is no such variable, or its dimensions do not fit the network.
    """
    if _is_array(path):
        array = zarr.open_array(path, mode="r")
        names: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
        dims = tuple(str(n) if n is not None else f"dim_{i}" for i, n in enumerate(names or [None] * array.ndim))
        shape, kind, name = array.shape, array.dtype.kind, ""
    else:
        variable = find_variable(open_store(path), path, name)
        dims, shape, kind = tuple(map(str, variable.dims)), variable.shape, variable.dtype.kind
    try:
        if kind not in "iufb":
            raise DataError(f"expected numbers, got values of kind {kind!r}")
        if 0 in shape:
            raise DataError(f"expected at least one pixel, got shape {shape}")
        return ImageSource(path, name, dims, shape, find_axes(dims, shape, rank, channels))
    except DataError as error:
        raise DataError(f"{path}: {name}: {error}" if name else f"{path}: {error}") from None


def find_axes(dims: Sequence[str], shape: Sequence[int], rank: int, channels: int) -> Axes:
    """Find the axes by the names of the dimensions, and by position and size where names are unknown.

    Raises
    ------
    DataError
        If the dimensions do not fit the network.

    Examples
    --------
    >>> find_axes(["y", "x"], [300, 400], rank=2, channels=1)
    Axes(sample=None, spatial=(0, 1), channel=None)
    >>> find_axes(["time", "band", "y", "x"], [5, 8, 300, 400], rank=2, channels=8)
    Axes(sample=0, spatial=(2, 3), channel=1)
    """
    sample = next((i for i, name in enumerate(dims) if name in SAMPLE), None)
    channel = next((i for i, name in enumerate(dims) if name in CHANNEL), None)
    rest = [i for i in range(len(dims)) if i not in (sample, channel)]
    if len(rest) > rank and channel is None:
        surplus = len(rest) > rank + 1 or sample is not None  # more than a dimension of samples explains
        if surplus or (dims[rest[-1]] not in SPATIAL and shape[rest[-1]] == channels):
            channel = rest.pop()
    if len(rest) == rank + 1 and sample is None:
        sample = rest.pop(0)
    if len(rest) != rank:
        expected = f"{rank} spatial dimensions, with or without samples and channels"
        raise DataError(f"expected {expected}, got {format_dims(dims)} of shape {tuple(shape)}")
    found = 1 if channel is None else shape[channel]
    if found != channels:
        raise DataError(f"expected as many channels as the network was trained on, {channels}, got {found}")
    return Axes(sample, tuple(rest), channel)


def _is_array(path: str) -> bool:
    try:
        metadata = json.loads((Path(path) / "zarr.json").read_text())
    except (OSError, ValueError):
        return (Path(path) / ".zarray").is_file()
    return bool(metadata.get("node_type") == "array")
