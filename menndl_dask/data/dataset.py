"""A labelled data set in Zarr: its images, labels, splits and groups. Runs on the driver and on workers.

Images have one size and one array, or each its own size and its own array in the group ``samples``; or there is one
image without a sample dimension.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import Axes, find_sample, format_dims, image_axes
from menndl_dask.data.parts.regions import Region
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.data.store.memory import check_fits
from menndl_dask.data.store.variable import (
    BLOCK_BYTES,
    LARGEST_BLOCK_BYTES,
    SAMPLES,
    Block,
    Variable,
    blocks,
    open_sample,
)
from menndl_dask.errors import DataError, nearest, one_line

_HASHED_SAMPLES = 16
_ENCODING = ("scale_factor", "add_offset", "_FillValue", "missing_value")  # attributes of values to decode
_MARKERS = ("zarr.json", ".zgroup", ".zmetadata")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images and labels of a problem, and the split and the group of each sample if the data has them."""

    path: str
    views: tuple[Variable, ...]
    label: Variable
    split: NDArray[Any] | None = None
    group: NDArray[Any] | None = None
    consecutive: bool = False  # whether neighbouring samples are alike, as sections and frames are

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.label.samples

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The views and the label."""
        return (*self.views, self.label)

    @property
    def is_single(self) -> bool:
        """Whether there is one image without a sample dimension."""
        return self.views[0].axes.sample is None and not self.views[0].keys

    @property
    def is_uniform(self) -> bool:
        """Whether all images have one size."""
        return all(view.is_uniform for view in self.views)

    def in_regions(self, regions: Sequence[Region], split: NDArray[Any] | None) -> Dataset:
        """Return the data set whose samples are these regions of its images, with the split of each."""
        images = np.array([region.sample for region in regions])
        return replace(
            self,
            views=tuple(replace(view, regions=tuple(regions)) for view in self.views),
            label=replace(self.label, regions=tuple(regions)),
            split=split,
            group=None if self.group is None else self.group[images],
        )

    def resized(self, size: tuple[int, ...]) -> Dataset:
        """Return the data set with images that are resized as they are read."""
        return replace(self, views=tuple(replace(view, resized=size) for view in self.views))

    def fingerprint(self) -> str:
        """Return a hash of the metadata and of a part of the values; equal data has equal fingerprints."""
        digest = hashlib.sha256()
        for variable in self.variables:
            array = variable.array
            attributes = {key: str(array.attrs[key]) for key in ("classes", "fill", "nodata") if key in array.attrs}
            facts = [variable.name, list(map(str, array.dims)), list(array.shape), str(array.dtype), attributes]
            digest.update(json.dumps([*facts, variable.shapes] if variable.shapes else facts).encode())
            for block in _drawn_blocks(variable):
                digest.update(np.ascontiguousarray(variable.read(block)).tobytes())
        for names in (self.split, self.group):
            digest.update(json.dumps(None if names is None else [str(n) for n in names]).encode())
        if self.consecutive:
            digest.update(b"consecutive")
        return digest.hexdigest()[:16]


def _drawn_blocks(variable: Variable) -> list[Block]:
    """Return evenly spaced samples, or parts of them where they are large; all samples if a sample is a number."""
    if len(variable.axes.order) == 1 and variable.axes.sample is not None:
        return [Block(0, variable.samples)]
    if variable.sample_bytes > LARGEST_BLOCK_BYTES:
        whole = list(blocks(variable))
        return [whole[place] for place in _evenly(len(whole))]
    return [block for place in _evenly(variable.samples) for block in _slabs(variable, place)]


def _slabs(variable: Variable, sample: int) -> list[Block]:
    """Return a sample in slabs along its first axis, whose values are those of the whole in the same order."""
    size = variable.size(sample)
    number = 1 if variable.resized or not size else min(size[0], -(-variable.sample_bytes // BLOCK_BYTES))
    if number == 1:
        return [Block(sample, sample + 1)]
    edges = np.linspace(0, size[0], number + 1).astype(int).tolist()
    rest = tuple(slice(0, length) for length in size[1:])
    return [Block(sample, sample + 1, (slice(low, high), *rest)) for low, high in pairwise(edges)]


def _evenly(number: int) -> list[int]:
    drawn: list[int] = np.linspace(0, number - 1, min(_HASHED_SAMPLES, number)).astype(int).tolist()
    return drawn


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
    open_sample.cache_clear()  # the store may have been written anew
    source = open_store(path, (label,))
    store = _Store(path, source, *(((), {}) if inputs[0] in source.variables else _sample_arrays(path)))
    labels = _label(store, label)
    views = tuple(_view(store, name, labels) for name in inputs)
    if labels.axes.sample is not None:
        labels = replace(labels, axes=_label_axes(labels, views[0]))
    _check_sizes(views, labels)
    split = _names(source, path, "split", labels.samples) if "split" in source.variables else None
    groups = None if group is None else _names(source, path, group, labels.samples)
    return Dataset(path, views, labels, split, groups, bool(source.attrs.get("consecutive", False)))


@dataclass(frozen=True, slots=True)
class _Store:
    """An open store: its variables, and the arrays ``sample/variable`` where samples have their own."""

    path: str
    source: xr.Dataset
    keys: tuple[str, ...]
    arrays: Mapping[str, zarr.Array[Any]]

    def own(self, name: str) -> bool:
        """Return whether samples have each an array of this name."""
        return bool(self.keys) and name not in self.source.variables


def _sample_arrays(path: str) -> tuple[tuple[str, ...], dict[str, zarr.Array[Any]]]:
    """Return the names of the samples that have arrays of their own, and the arrays by ``sample/variable``.

    Both are empty if the store has no group ``samples``.
    """
    try:
        with quietly():
            root = zarr.open_group(store_of(path), mode="r")
            group = root.get(SAMPLES)
            if not isinstance(group, zarr.Group):
                return (), {}
            members = dict(group.members(max_depth=1))
    except Exception as error:  # storage raises any exception
        raise DataError(f"{path}: {SAMPLES}: cannot be read as Zarr: {one_line(error)}") from error
    keys = tuple(sorted(name for name, member in members.items() if isinstance(member, zarr.Group)))
    if not keys:
        raise DataError(f"{path}: {SAMPLES}: expected a group for each image, such as {SAMPLES}/00000, found none")
    return keys, {name: member for name, member in members.items() if isinstance(member, zarr.Array)}


def open_store(path: str, raw: Sequence[str] = ()) -> xr.Dataset:
    """Open a Zarr store lazily; variables in `raw` keep their stored values, including fill values."""
    remote = "://" in path
    if not remote:
        _check_directory(path)
    try:
        with quietly():
            return xr.open_dataset(
                store_of(path),
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
    if path.startswith("keras:"):
        convert = f"menndl convert {path} {path.removeprefix('keras:')}.zarr"
        raise DataError(f"{path}: expected a Zarr store, got a data set of Keras; convert it first: {convert}")
    if directory.is_file():
        convert = f"menndl convert {path} {directory.name.partition('.')[0] or 'images'}.zarr"
        raise DataError(f"{path}: expected a Zarr store, got a file; convert it: {convert}")
    if not directory.is_dir():
        beside = [p.name for p in directory.parent.iterdir()] if directory.parent.is_dir() else []
        raise DataError(f"{path}: expected a Zarr store, found no such directory{nearest(directory.name, beside)}")
    if not any((directory / marker).is_file() for marker in _MARKERS):
        hint = f"; convert images of other formats: menndl convert {path} {directory.resolve().name}.zarr"
        raise DataError(f"{path}: expected a Zarr store, got a directory without {' or '.join(_MARKERS[:2])}{hint}")


def _diagnosis(path: str, error: Exception, group: str = "") -> str:
    """Explain why xarray cannot open a store: missing dimension names, or conflicting sizes of a dimension."""
    try:
        with quietly():
            arrays = sorted(zarr.open_group(store_of(path), mode="r", path=group).arrays())
    except Exception:  # noqa: BLE001  the first error is the one to report
        return f"cannot be read as Zarr: {one_line(error)}"
    lengths: dict[str, dict[str, int]] = {}
    for name, array in arrays:
        dims = _stored_dims(array)
        if not dims or None in dims:
            return f"{name}: expected named dimensions such as (sample, y, x, channel), got none"
        if wrong := _repeated(name, dims):
            return wrong
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
        hint = nearest(name, known) or f"; found {', '.join(known) or 'no variables'}{_elsewhere(path, known)}"
        raise DataError(f"{path}: expected a variable {name!r}, found none of that name{hint}")
    if wrong := _repeated(name, source.variables[name].dims):
        raise DataError(f"{path}: {wrong}")
    return source[name]


def _repeated(name: str, dims: Iterable[object]) -> str:
    """Say that two dimensions have one name; xarray opens it where they are as long, and selects wrongly."""
    names = [str(dim) for dim in dims]
    if len(set(names)) == len(names):
        return ""
    return f"{name}: expected dimensions of different names, got {format_dims(names)}"


def _elsewhere(path: str, known: Sequence[str]) -> str:
    """Return a hint if the variables of a store lie in its groups."""
    if known or "://" in path:
        return ""
    groups = sorted(p.name for p in Path(path).iterdir() if any((p / marker).is_file() for marker in _MARKERS))
    shown = ", ".join(groups[:3]) + (", …" if len(groups) > 3 else "")
    return f", but the groups {shown}: menndl convert reads arrays in groups" if groups else ""


def _label(store: _Store, name: str) -> Variable:
    if store.own(name) and any(f"{key}/{name}" in store.arrays for key in store.keys):
        return _own_arrays(store, name, raw=True)
    truth = find_variable(store.source, store.path, name)
    if not truth.dims:
        raise DataError(f"{store.path}: {name}: expected a label for each sample, got a single value")
    dims = [str(dim) for dim in truth.dims]
    axis = find_sample(dims)
    if store.keys and axis is None:
        raise DataError(f"{store.path}: {name}: expected the dimension sample, got {format_dims(dims)}")
    return Variable(store.path, name, truth, Axes(axis, tuple(other for other in range(truth.ndim) if other != axis)))


def _own_arrays(store: _Store, name: str, *, raw: bool = False) -> Variable:
    """Return the arrays of a variable of which each sample has its own, all with the same dimensions.

    The axes are in the order of the dimensions, all spatial.
    """
    first = _first_array(store, name, raw)
    for key in store.keys:
        where = f"{store.path}: {SAMPLES}/{key}: {name}"
        found = store.arrays.get(f"{key}/{name}")
        if found is None:
            raise DataError(f"{where}: expected an array as in the other samples, found none")
        dims = tuple(map(str, _stored_dims(found)))
        if dims != first.dims:
            expected = f"{format_dims([str(d) for d in first.dims])} as in {SAMPLES}/{store.keys[0]}"
            raise DataError(f"{where}: expected dimensions {expected}, got {format_dims(dims)}")
    stored = tuple(store.arrays[f"{key}/{name}"] for key in store.keys)
    kinds = {array.dtype for array in stored}
    is_encoded = not raw and any(key in array.attrs for array in stored for key in _ENCODING)
    return Variable(
        store.path,
        name,
        first,
        Axes(None, tuple(range(first.ndim))),
        keys=store.keys,
        arrays=() if is_encoded else stored,
        shapes=tuple(tuple(map(int, array.shape)) for array in stored),
        mixed=np.result_type(*kinds, first.dtype) if len(kinds) > 1 else None,
    )


def _first_array(store: _Store, name: str, raw: bool) -> xr.DataArray:
    key = store.keys[0]
    try:
        source = open_sample(store.path, key, name if raw else None)
    except Exception as error:  # xarray, zarr and file systems raise any exception
        group = f"{SAMPLES}/{key}"
        raise DataError(f"{store.path}: {group}: {_diagnosis(store.path, error, group)}") from error
    return find_variable(source, f"{store.path}: {SAMPLES}/{key}", name)


def _stored_dims(array: zarr.Array[Any]) -> Sequence[Any]:
    dims: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return dims or ()


def _view(store: _Store, name: str, labels: Variable) -> Variable:
    path, own = store.path, store.own(name)
    plain = _own_arrays(store, name) if own else None
    array = find_variable(store.source, path, name) if plain is None else plain.array
    dims = [str(d) for d in array.dims]
    if array.dtype.kind not in "iufb":
        raise DataError(f"{path}: {name}: expected numbers, got values of type {array.dtype}")
    chunks = array.encoding.get("chunks") or array.encoding.get("preferred_chunks", {}).values()
    check_fits(f"{path}: {name}", tuple(chunks), array.dtype.itemsize, "a chunk")
    single = own or labels.axes.sample is None
    sample = None if labels.axes.sample is None else str(labels.array.dims[labels.axes.sample])
    # labels with as many axes as the images, with or without channels, are taken to be per pixel
    by_pixel = array.ndim - (not single) - len(labels.dims) in (0, 1) and labels.array.dtype.kind in "iub"
    pixels = labels.dims if by_pixel else ()
    try:
        axes = image_axes(dims, sample, pixels, shape=array.shape, single=single)
    except DataError as error:
        raise DataError(f"{path}: {name}: {error}") from None
    if pixels and len(axes.spatial) == len(pixels):
        named = {dims[axis]: axis for axis in axes.spatial}
        if set(named) == set(pixels):  # in the order of the labels
            axes = replace(axes, spatial=tuple(named[dim] for dim in pixels))
    nodata = _nodata(path, name, array)
    return (
        Variable(path, name, array, axes, nodata=nodata) if plain is None else replace(plain, axes=axes, nodata=nodata)
    )


def _nodata(path: str, name: str, array: xr.DataArray) -> float | None:
    value = array.attrs.get("nodata")
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{path}: {name}: attribute 'nodata': expected a number, got {value!r}") from None
    return None if math.isnan(number) else number


def _label_axes(labels: Variable, view: Variable) -> Axes:
    """Return the axes of labels of an array of all samples: spatial ones only if there is a label for each pixel."""
    axes = labels.axes
    if len(axes.spatial) == 1 and (labels.array.dtype.kind == "f" or labels.size(0) != view.size(0)):
        return Axes(axes.sample, (), axes.spatial[0])  # values of a sample
    return axes


def _check_sizes(views: Sequence[Variable], labels: Variable) -> None:
    for view in views:
        if view.samples != labels.samples:
            raise view.error(f"expected {labels.samples} samples as in {labels.name}, got {view.samples}")
        for image, shape in enumerate(view.shapes or (view.array.shape,)):
            where = f"{view.keys[image]}: " if view.keys else ""
            if 0 in shape:
                raise view.error(f"{where}expected at least one pixel, got shape {tuple(shape)}")
            if view.axes.channel is not None and shape[view.axes.channel] != view.channels:
                got = shape[view.axes.channel]
                raise view.error(f"{where}expected {view.channels} channels as in {view.keys[0]}, got {got}")
        if len(view.axes.spatial) != len(views[0].axes.spatial):
            expected = f"{views[0].name} {format_dims(views[0].dims)}"
            raise view.error(f"expected as many spatial axes as in {expected}, got {format_dims(view.dims)}")
    if labels.keys:
        for key, size, image_size in zip(labels.keys, labels.sizes(), views[0].sizes(), strict=False):
            if size != image_size:
                raise labels.error(f"{key}: expected the size {image_size} of {views[0].name}, got {size}")


def _names(source: xr.Dataset, path: str, name: str, samples: int) -> NDArray[Any]:
    array = find_variable(source, path, name)
    if array.ndim != 1 or array.size != samples:
        raise DataError(f"{path}: {name}: expected one value for each of {samples} samples, got shape {array.shape}")
    values = array.values
    return np.array([str(value) for value in values]) if values.dtype.kind in "OSUT" else values
