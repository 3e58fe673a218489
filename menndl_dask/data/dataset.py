"""A labelled data set in Zarr, read in blocks. Runs on the driver and on workers.

No Dask computation is started, so that a worker thread can read while the cluster is busy. Zarr reads the chunks of a
block in parallel.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import Axes, format_dims, image_axes, sample_axis
from menndl_dask.errors import DataError, nearest, one_line

_BLOCK_BYTES = 32 * 2**20
_LARGEST_BLOCK_BYTES = 256 * 2**20
_HASHED_SAMPLES = 16
_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")


@dataclass(frozen=True, slots=True)
class Variable:
    """Images of one view, or labels, of a store; read with samples first and channels last."""

    path: str
    name: str
    array: xr.DataArray
    axes: Axes

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.array.shape[self.axes.order[0]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample; without a channel axis if the data has none."""
        return tuple(self.array.shape[axis] for axis in self.axes.order[1:])

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of one sample."""
        return tuple(str(self.array.dims[axis]) for axis in self.axes.order[1:])

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample in memory."""
        return self.array.dtype.itemsize * math.prod(self.shape)

    @property
    def chunk(self) -> int:
        """Number of samples in a chunk."""
        return int(self.array.encoding.get("preferred_chunks", {}).get(self.array.dims[self.axes.order[0]], 1))

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``start:stop`` as ``(sample, spatial…, channel)``."""
        try:
            values = self.array.isel({self.array.dims[self.axes.order[0]]: slice(start, stop)}).values
        except Exception as error:  # storage and codecs raise any exception
            raise self.error(f"samples {start} to {stop - 1} cannot be read: {one_line(error)}") from error
        return values.transpose(self.axes.order)

    def images(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``start:stop``, with a channel axis of length 1 if the data has none."""
        values = self.read(start, stop)
        return values[..., np.newaxis] if self.axes.channel is None else values

    def error(self, message: str) -> DataError:
        """Return a `DataError` about this variable."""
        return DataError(f"{self.path}: {self.name}: {message}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images and labels of a problem, and the split and the group of each sample if the data has them."""

    path: str
    views: tuple[Variable, ...]
    label: Variable
    split: NDArray[Any] | None = None
    group: NDArray[Any] | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.label.samples

    def fingerprint(self) -> str:
        """Return a hash of the metadata and of a part of the values; equal data has equal fingerprints."""
        digest = hashlib.sha256()
        for variable in (*self.views, self.label):
            array = variable.array
            attributes = {key: str(array.attrs[key]) for key in ("classes", "fill") if key in array.attrs}
            facts = [variable.name, list(map(str, array.dims)), list(array.shape), str(array.dtype), attributes]
            digest.update(json.dumps(facts).encode())
            spans = [(0, variable.samples)]
            if variable.axes.spatial:
                drawn = np.linspace(0, variable.samples - 1, min(_HASHED_SAMPLES, variable.samples)).astype(int)
                spans = [(position, position + 1) for position in drawn.tolist()]
            for start, stop in spans:
                digest.update(np.ascontiguousarray(variable.read(start, stop)).tobytes())
        for names in (self.split, self.group):
            digest.update(json.dumps(None if names is None else [str(n) for n in names]).encode())
        return digest.hexdigest()[:16]


def blocks(*variables: Variable) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of blocks of samples: whole chunks, some tens of megabytes of all variables together."""
    each = max(1, sum(v.sample_bytes for v in variables))
    chunk = max(v.chunk for v in variables)
    size = chunk * max(1, _BLOCK_BYTES // (chunk * each))
    size = max(1, min(size, _LARGEST_BLOCK_BYTES // each))
    samples = variables[0].samples
    for start in range(0, samples, size):
        yield start, min(start + size, samples)


def fill_missing(images: NDArray[Any], mean: Sequence[float]) -> NDArray[np.float32]:
    """Return images as float32, with NaN replaced by the mean of the channel."""
    values = images.astype(np.float32)
    if images.dtype.kind == "f":
        np.copyto(values, np.asarray(mean, dtype=np.float32), where=np.isnan(values))
    return values


def open_dataset(path: str, inputs: Sequence[str], label: str, group: str | None = None) -> Dataset:
    """Open the variables of a problem in a Zarr store, and the coordinate `group` whose samples stay in one split.

    Raises
    ------
    DataError
        If the store cannot be opened, a variable is missing, or shapes do not match.
    """
    source = open_store(path, (label,))
    truth = find_variable(source, path, label)
    if not truth.dims:
        raise DataError(f"{path}: {label}: expected a label for each sample, got a single value")
    dims = [str(dim) for dim in truth.dims]
    axis = sample_axis(dims)
    labels = Variable(path, label, truth, Axes(axis, tuple(other for other in range(truth.ndim) if other != axis)))
    views = tuple(_view(path, name, find_variable(source, path, name), dims[axis], labels) for name in inputs)
    _check_sizes(views, labels)
    split = _names(source, path, "split", labels.samples) if "split" in source.variables else None
    groups = None if group is None else _names(source, path, group, labels.samples)
    return Dataset(path, views, labels, split, groups)


def open_store(path: str, raw: Sequence[str] = ()) -> xr.Dataset:
    """Open a Zarr store lazily; variables in `raw` keep their stored values, including fill values."""
    remote = "://" in path
    if not remote:
        _check_directory(path)
    try:
        return xr.open_dataset(
            path,
            engine="zarr",
            chunks=None,
            cache=False,
            consolidated=None if remote else False,  # None would warn about missing consolidated metadata
            mask_and_scale=dict.fromkeys(raw, False),
        )
    except Exception as error:  # xarray, zarr and file systems raise any exception
        raise DataError(f"{path}: {_diagnosis(path, error)}") from error


def _check_directory(path: str) -> None:
    directory = Path(path)
    if directory.is_file():
        raise DataError(f"{path}: expected a Zarr store, got a file; convert it with `menndl convert`")
    if not directory.is_dir():
        beside = [p.name for p in directory.parent.iterdir()] if directory.parent.is_dir() else []
        raise DataError(f"{path}: expected a Zarr store, found no such directory{nearest(directory.name, beside)}")
    if not any((directory / marker).is_file() for marker in _MARKERS):
        raise DataError(f"{path}: expected a Zarr store, got a directory without {' or '.join(_MARKERS[:2])}")


def _diagnosis(path: str, error: Exception) -> str:
    """Explain why xarray cannot open a store: missing dimension names, or conflicting sizes of a dimension."""
    try:
        arrays = sorted(zarr.open_group(path, mode="r").arrays())
    except Exception:  # noqa: BLE001  the first error is the one to report
        return f"cannot be read as Zarr: {one_line(error)}"
    lengths: dict[str, dict[str, int]] = {}
    for name, array in arrays:
        dims: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
        if not dims or None in dims:
            return f"{name}: expected named dimensions such as (sample, y, x, channel), got none"
        for dim, size in zip(dims, array.shape, strict=False):
            lengths.setdefault(str(dim), {})[name] = size
    for dim, sizes in lengths.items():
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{size} in {name}" for name, size in sizes.items())
            return f"dimension {dim}: expected equal lengths in all variables, got {found}"
    return f"cannot be read as Zarr: {one_line(error)}"


def find_variable(source: xr.Dataset, path: str, name: str) -> xr.DataArray:
    """Return a variable of an open store; a `DataError` names the nearest one if there is none of this name."""
    if name not in source.variables:
        known = sorted(str(n) for n in source.variables)
        hint = nearest(name, known) or f"; found {', '.join(known) or 'no variables'}"
        raise DataError(f"{path}: expected a variable {name!r}, found none of that name{hint}")
    return source[name]


def _view(path: str, name: str, array: xr.DataArray, sample: str, labels: Variable) -> Variable:
    # labels with as many axes as the images, with or without channels, are taken to be per pixel
    by_pixel = array.ndim - 1 - len(labels.dims) in (0, 1) and labels.array.dtype.kind in "iub"
    pixels = labels.dims if by_pixel else ()
    if array.dtype.kind not in "iufb":
        raise DataError(f"{path}: {name}: expected numbers, got values of type {array.dtype}")
    try:
        axes = image_axes([str(d) for d in array.dims], sample, pixels)
    except DataError as error:
        raise DataError(f"{path}: {name}: {error}") from None
    if pixels and len(axes.spatial) == len(pixels):
        named = {str(array.dims[axis]): axis for axis in axes.spatial}
        if set(named) == set(pixels):  # in the order of the labels
            axes = Axes(axes.sample, tuple(named[dim] for dim in pixels), axes.channel)
    return Variable(path, name, array, axes)


def _check_sizes(views: Sequence[Variable], labels: Variable) -> None:
    for view in views:
        if view.samples != labels.samples:
            raise view.error(f"expected {labels.samples} samples as in {labels.name}, got {view.samples}")
        if 0 in view.array.shape:
            raise view.error(f"expected at least one pixel, got shape {view.array.shape}")
        if len(view.axes.spatial) != len(views[0].axes.spatial):
            expected = f"{views[0].name} {format_dims(views[0].dims)}"
            raise view.error(f"expected as many spatial axes as in {expected}, got {format_dims(view.dims)}")


def _names(source: xr.Dataset, path: str, name: str, samples: int) -> NDArray[Any]:
    array = find_variable(source, path, name)
    if array.ndim != 1 or array.size != samples:
        raise DataError(f"{path}: {name}: expected one value for each of {samples} samples, got shape {array.shape}")
    values = array.values
    return np.array([str(value) for value in values]) if values.dtype.kind in "OSUT" else values
