"""Images of any size in Zarr, as input for a prediction. Runs on the driver and on workers.

Images are read block by block, so that they may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import CHANNEL, SAMPLE, SPATIAL, format_dims
from menndl_dask.data.dataset import open_store
from menndl_dask.errors import DataError, nearest, one_line


@dataclass(frozen=True, slots=True)
class ImageAxes:
    """Positions of the spatial, sample and channel dimensions; None if an array has no such dimension."""

    spatial: tuple[int, ...]
    sample: int | None = None
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A variable of a Zarr store, or a bare Zarr array.

    Parameters
    ----------
    path
        Path or URL of the store or array.
    name
        Name of the variable; empty for a bare array.
    dims, shape
        Names and sizes of the dimensions.
    axes
        Positions of the dimensions.
    """

    path: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: ImageAxes

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
        sample = () if self.axes.sample is None else (self.dims[self.axes.sample],)
        return (*sample, *(self.dims[axis] for axis in self.axes.spatial))

    def read(self, samples: slice, pixels: Sequence[slice]) -> NDArray[Any]:
        """Return a part of the images, ``(sample, spatial…, channel)``.

        Raises
        ------
        DataError
            If the part cannot be read.
        """
        wanted = dict(zip(self.axes.spatial, pixels, strict=True))
        order = list(self.axes.spatial)
        if self.axes.sample is not None:
            wanted[self.axes.sample] = samples
            order.insert(0, self.axes.sample)
        if self.axes.channel is not None:
            order.append(self.axes.channel)
        index = tuple(wanted.get(axis, slice(None)) for axis in range(len(self.shape)))
        try:
            values = np.asarray(self._values(index)).transpose(order)
        except DataError:
            raise
        except Exception as error:  # storage and codecs raise any exception
            raise DataError(f"{self.label}: {self._part(index)} cannot be read: {one_line(error)}") from error
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

    def _values(self, index: tuple[slice, ...]) -> Any:
        if not self.name:
            return zarr.open_array(self.path, mode="r")[index]
        return open_store(self.path)[self.name].isel(dict(zip(self.dims, index, strict=True))).values

    def _part(self, index: tuple[slice, ...]) -> str:
        bounds = (s.indices(n)[:2] for s, n in zip(index, self.shape, strict=True))
        return "[" + ", ".join(f"{low}:{high}" for low, high in bounds) + "]"


def open_images(path: str, name: str, rank: int, channels: int) -> ImageSource:
    """Open a variable and find its axes.

    Parameters
    ----------
    path
        Path or URL of the Zarr store or array.
    name
        Name of the variable; ignored for a bare array.
    rank, channels
        Number of spatial axes and channels of the network's input.

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
        variables: Mapping[Any, xr.DataArray] = open_store(path).variables  # type: ignore[assignment]
        if name not in variables:
            known = [str(n) for n in variables]
            hint = nearest(name, known) or f"; found {', '.join(known) or 'no variables'}"
            raise DataError(f"{path}: expected a variable {name!r}, found none of that name{hint}")
        variable = variables[name]
        dims, shape, kind = tuple(map(str, variable.dims)), variable.shape, variable.dtype.kind
    told_as = f"{path}: {name}" if name else path
    if kind not in "iufb":
        raise DataError(f"{told_as}: expected numbers, got values of kind {kind!r}")
    if 0 in shape:
        raise DataError(f"{told_as}: expected at least one pixel, got shape {shape}")
    try:
        return ImageSource(path, name, dims, shape, find_axes(dims, shape, rank, channels))
    except DataError as error:
        raise DataError(f"{told_as}: {error}") from None


def find_axes(dims: Sequence[str], shape: Sequence[int], rank: int, channels: int) -> ImageAxes:
    """Find the axes by the names of the dimensions, and by position and size where names are unknown.

    Parameters
    ----------
    dims, shape
        Names and sizes of the dimensions.
    rank, channels
        Number of spatial axes and channels of the network's input.

    Raises
    ------
    DataError
        If the dimensions do not fit the network.

    Examples
    --------
    >>> find_axes(["y", "x"], [300, 400], rank=2, channels=1)
    ImageAxes(spatial=(0, 1), sample=None, channel=None)
    >>> find_axes(["time", "band", "y", "x"], [5, 8, 300, 400], rank=2, channels=8)
    ImageAxes(spatial=(2, 3), sample=0, channel=1)
    """
    sample = next((i for i, name in enumerate(dims) if name in SAMPLE), None)
    channel = next((i for i, name in enumerate(dims) if name in CHANNEL), None)
    rest = [i for i in range(len(dims)) if i not in (sample, channel)]
    if len(rest) > rank and channel is None and _ends_in_channels(dims, shape, rest, rank, channels, sample):
        channel = rest.pop()
    if len(rest) == rank + 1 and sample is None:
        sample = rest.pop(0)
    if len(rest) != rank:
        expected = f"{rank} spatial dimensions, with or without samples and channels"
        raise DataError(f"expected {expected}, got {format_dims(dims)} of shape {tuple(shape)}")
    found = 1 if channel is None else shape[channel]
    if found != channels:
        raise DataError(f"expected as many channels as the network was trained on, {channels}, got {found}")
    return ImageAxes(tuple(rest), sample, channel)


def _ends_in_channels(
    dims: Sequence[str], shape: Sequence[int], rest: Sequence[int], rank: int, channels: int, sample: int | None
) -> bool:
    """Whether the last of the dimensions with unknown names holds the channels."""
    if len(rest) > rank + 1 or sample is not None:  # one for samples, one for channels
        return True
    if dims[rest[-1]] in SPATIAL:
        return False
    return shape[rest[-1]] == channels


def _is_array(path: str) -> bool:
    folder = Path(path)
    if (folder / ".zarray").is_file():
        return True
    metadata = folder / "zarr.json"
    try:
        return bool(json.loads(metadata.read_text()).get("node_type") == "array")
    except (OSError, ValueError):
        return False
