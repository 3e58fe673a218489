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

from menndl_dask.data.axes import CHANNEL, SAMPLE, SPATIAL, Axes, format_dims
from menndl_dask.data.dataset import find_variable, open_store
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.data.store.variable import SAMPLES
from menndl_dask.errors import DataError, one_line, reading
from menndl_dask.moments import finite_or_nan


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Images of equal size: a variable of a Zarr store, or a bare Zarr array; opened anew where a part is read."""

    path: str
    name: str  # empty for a bare array
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: Axes
    group: str = ""  # in the store, such as samples/00003
    nodata: float | None = None  # value that stands for a missing one
    spacing: tuple[float, ...] = ()  # size of a pixel along each spatial axis, if the store says it

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each spatial axis."""
        return tuple(self.shape[axis] for axis in self.axes.spatial)

    @property
    def samples(self) -> int:
        """Number of images."""
        return 1 if self.axes.sample is None else self.shape[self.axes.sample]

    @property
    def channels(self) -> int:
        """Number of channels; 1 without a dimension for them."""
        return 1 if self.axes.channel is None else self.shape[self.axes.channel]

    @property
    def kept_dims(self) -> tuple[str, ...]:
        """Names of the sample and the spatial dimensions."""
        return tuple(self.dims[axis] for axis in self.axes.order if axis != self.axes.channel)

    def read(self, samples: slice, pixels: Sequence[slice] = ()) -> NDArray[Any]:
        """Return a part of the images, ``(sample, spatial…, channel)``, with NaN where a value is missing or infinite.

        Raises
        ------
        DataError
            If the part cannot be read.
        """
        pixels = pixels or (slice(None),) * len(self.axes.spatial)
        wanted = dict(zip((self.axes.sample, *self.axes.spatial), (samples, *pixels), strict=True))
        index = tuple(wanted.get(axis, slice(None)) for axis in range(len(self.shape)))
        try:
            if self.name:
                values = self.open()[self.name].isel(dict(zip(self.dims, index, strict=True))).values
            else:
                values = np.asarray(zarr.open_array(store_of(self.path), mode="r")[index])
        except DataError:
            raise
        except Exception as error:  # storage and codecs raise any exception
            bounds = (s.indices(n) for s, n in zip(index, self.shape, strict=True))
            part = ", ".join(f"{low}:{high}" for low, high, _ in bounds)
            raise DataError(f"{self.label}: [{part}] cannot be read: {one_line(error)}") from error
        if self.nodata is not None:
            missing = values == np.asarray(self.nodata, values.dtype if values.dtype.kind == "f" else np.float64)
            values = np.where(missing, np.float32(np.nan), values.astype(np.float32))
        values = finite_or_nan(values).transpose(self.axes.order)
        values = values if self.axes.sample is not None else values[np.newaxis]
        return values if self.axes.channel is not None else values[..., np.newaxis]

    def open(self) -> xr.Dataset:
        """Open the store, or the group of it that holds these images."""
        if not self.group:
            return open_store(self.path)
        remote = "://" in self.path
        store = store_of(self.path)
        return xr.open_dataset(
            store, engine="zarr", group=self.group, chunks=None, cache=False, consolidated=None if remote else False
        )

    def coordinates(self) -> dict[str, xr.DataArray]:
        """Return the one-dimensional coordinates of the sample and spatial dimensions."""
        if not self.name:
            return {}
        array = self.open()[self.name]
        kept = set(self.kept_dims)
        return {str(k): c.load() for k, c in array.coords.items() if c.ndim == 1 and set(c.dims) <= kept}

    @property
    def label(self) -> str:
        """Path and name, for error messages."""
        return ": ".join(word for word in (self.path, self.group, self.name) if word)


def open_images(path: str, name: str, rank: int, channels: int) -> tuple[ImageSource, ...]:
    """Open a variable, or a bare array, for a network with so many spatial axes and channels.

    Returns
    -------
    tuple of ImageSource
        One with all images, or one for each image where each has a size of its own (group ``samples``).

    Raises
    ------
    DataError
        If there is no such variable, or its dimensions do not fit the network.
    """
    with reading(path), quietly():
        if _is_array(path):
            return (_source(zarr.open_array(store_of(path), mode="r"), path, "", "", rank, channels),)
        root = open_store(path)
        own = {} if name in root.variables else _own_arrays(path, name)
        if own:
            return tuple(_source(array, path, name, group, rank, channels) for group, array in own.items())
        variable = find_variable(root, path, name)
        return (_source(variable, path, name, "", rank, channels),)


def _source(array: Any, path: str, name: str, group: str, rank: int, channels: int) -> ImageSource:
    """Return the images of an array of xarray or Zarr."""
    where = ": ".join(word for word in (path, group, name) if word)
    dims = array.dims if isinstance(array, xr.DataArray) else _stored_dims(array)
    dims = tuple(f"dim_{i}" if dim is None else str(dim) for i, dim in enumerate(dims))
    try:
        if array.dtype.kind not in "iufb":
            raise DataError(f"expected numbers, got values of kind {array.dtype.kind!r}")
        if 0 in array.shape:
            raise DataError(f"expected at least one pixel, got shape {array.shape}")
        axes = find_axes(dims, array.shape, rank, channels)
        nodata = _numbers(array.attrs, "nodata", 1)
        spacing = _numbers(array.attrs, "spacing", rank)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    missing = None if not nodata or np.isnan(nodata[0]) else nodata[0]
    return ImageSource(path, name, dims, tuple(array.shape), axes, group, missing, spacing)


def _stored_dims(array: zarr.Array[Any]) -> Sequence[Any]:
    dims: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return dims or [None] * array.ndim


def _numbers(attributes: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
    """Return an attribute of so many numbers; empty if there is none."""
    value = attributes.get(name)
    if value is None:
        return ()
    try:
        found = tuple(np.atleast_1d(np.asarray(value, np.float64)).tolist())
    except (TypeError, ValueError):
        found = ()
    if len(found) != count:
        raise DataError(f"attribute {name!r}: expected {count} number{'s' * (count > 1)}, got {value!r}")
    return found


def _own_arrays(path: str, name: str) -> dict[str, zarr.Array[Any]]:
    """Return the array of each image that has a size of its own, by its group; empty if there are none."""
    try:
        group = zarr.open_group(store_of(path), mode="r").get(SAMPLES)
        members = dict(group.members(max_depth=1)) if isinstance(group, zarr.Group) else {}
    except Exception as error:  # storage raises any exception
        raise DataError(f"{path}: {SAMPLES}: cannot be read as Zarr: {one_line(error)}") from error
    found: dict[str, zarr.Array[Any]] = {}
    for key in sorted(key for key, member in members.items() if isinstance(member, zarr.Group)):
        array = members.get(f"{key}/{name}")
        if not isinstance(array, zarr.Array):
            raise DataError(f"{path}: {SAMPLES}/{key}: expected a variable {name!r}, found none of that name")
        found[f"{SAMPLES}/{key}"] = array
    return found


def find_axes(dims: Sequence[str], shape: Sequence[int], rank: int, channels: int) -> Axes:
    """Find the axes by the names of the dimensions, and by position and size where names are unknown.

    Names are compared without regard to case.

    Raises
    ------
    DataError
        If the dimensions do not fit the network.

    Examples
    --------
    >>> find_axes(["y", "x"], [300, 400], rank=2, channels=1)
    Axes(sample=None, spatial=(0, 1), channel=None)
    >>> find_axes(["time", "band", "Y", "X"], [5, 8, 300, 400], rank=2, channels=8)
    Axes(sample=0, spatial=(2, 3), channel=1)
    """
    names = [dim.lower() for dim in dims]
    sample = next((i for i, name in enumerate(names) if name in SAMPLE), None)
    channel = next((i for i, name in enumerate(names) if name in CHANNEL), None)
    rest = [i for i in range(len(dims)) if i not in (sample, channel)]
    if len(rest) > rank and channel is None:
        surplus = len(rest) > rank + 1 or sample is not None  # more than a dimension of samples explains
        if surplus or (names[rest[-1]] not in SPATIAL and shape[rest[-1]] == channels):
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
    return isinstance(metadata, dict) and metadata.get("node_type") == "array"
