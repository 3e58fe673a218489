"""Zarr stores of versions 2 and 3 in any layout, and OME-Zarr, read lazily. Runs on the driver.

Source: https://ngff.openmicroscopy.org, versions 0.4 and 0.5 (``multiscales``, ``labels``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import ZipStore

from menndl_dask.data.axes import SPATIAL
from menndl_dask.data.formats.content import Content, Pieces, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.readers.hdf import hdf_spacing
from menndl_dask.data.formats.readers.xarray_engine import spacing_of
from menndl_dask.data.formats.views import Squeezed, decoded
from menndl_dask.data.store.local_store import quietly, store_of
from menndl_dask.data.store.memory import check_fits
from menndl_dask.errors import DataError
from menndl_dask.problem import SPLITS

_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_KINDS = {"time": "t", "channel": "channel"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, or a file is one that was zipped."""
    if path.is_dir():
        return any((path / marker).is_file() for marker in _MARKERS)
    return path.name.lower().endswith(".zarr.zip")


def is_converted(path: Path) -> bool:
    """Whether a Zarr store is laid out as `open_problem` expects it: ``image`` and ``label`` with named dimensions."""
    with reading(path, "Zarr"):
        group = _opened(path)
        return isinstance(group, zarr.Group) and _is_converted(group)


def _is_converted(group: zarr.Group) -> bool:
    if _ome(group.attrs.asdict()):
        return False
    names = [_dims(group[name]) for name in ("image", "label") if isinstance(group.get(name), zarr.Array)]
    samples = group.get("samples")
    if isinstance(samples, zarr.Group):
        return any(isinstance(sample.get("image"), zarr.Array) for _, sample in samples.groups())
    return len(names) == 2 and all(names) and _is_readable(group)


def _is_readable(group: zarr.Group) -> bool:
    """Whether labels are numbers, and splits have our names."""
    label, split = group["label"], group.get("split")
    if not isinstance(label, zarr.Array) or label.dtype.kind not in "biuf":
        return False
    return not isinstance(split, zarr.Array) or {str(name) for name in np.asarray(split[...]).ravel()} <= set(SPLITS)


def _converted_content(group: zarr.Group) -> Content:
    """Return a store of our own layout, with unequal samples as one array."""
    samples = group.get("samples")
    arrays = _sources({name: array for name, array in _arrays(group).items() if not name.startswith("samples/")})
    if isinstance(samples, zarr.Group):
        each = [_sources(_arrays(sample)) for _, sample in sorted(samples.groups())]
        for name, first in each[0].items():
            if any(name not in found for found in each):
                raise ValueError(f"samples: expected {name} in each of them")
            if len(first.shape) > 1:
                pieces = Pieces([found[name].array for found in each])
                arrays[name] = replace(first, array=pieces, dims=("sample", *first.dims), stored=None)
    images = tuple(name for name, source in arrays.items() if len(source.shape) > 1 and name != "label")
    label = "label" if "label" in arrays else None
    return Content(arrays, images=images, label=label, consecutive=group.attrs.get("consecutive") is True)


@contextmanager
def open_zarr(path: Path) -> Iterator[Content]:
    """Open a Zarr store; arrays in groups are named by their path, such as ``scan/image``.

    Dimensions have names where the store has them. An OME-Zarr gives its finest level as ``image``, and those of the
    group ``labels``.
    """
    with reading(path, "Zarr"):
        node = _opened(path)
        attributes = node.attrs.asdict()
        if isinstance(node, zarr.Group) and "plate" in _ome(attributes):
            raise DataError(f"{path}: expected an image, got a plate of wells; name one of its fields, such as A/1/0")
        if isinstance(node, zarr.Group) and (images := _ome_images(node)):
            content = _ome_content(images)
        elif isinstance(node, zarr.Group):
            content = _converted_content(node) if _is_converted(node) else Content(_sources(_arrays(node)))
        else:
            content = Content(_sources({"image": node}))
    if not content.arrays:
        raise DataError(f"{path}: expected arrays, found none")
    found = guarded(content.arrays, path, "Zarr")
    yield replace(content, arrays=found)


def _opened(path: Path) -> zarr.Group | zarr.Array[Any]:
    with quietly():
        return zarr.open(store_of(path) if path.is_dir() else ZipStore(path, mode="r"), mode="r")


def _arrays(group: zarr.Group) -> dict[str, zarr.Array[Any]]:
    members = sorted(group.members(max_depth=None))
    return {name: member for name, member in members if isinstance(member, zarr.Array) and member.shape}


def _sources(arrays: Mapping[str, zarr.Array[Any]]) -> dict[str, SourceArray]:
    """Return the arrays, but not the positions along spatial axes, which give the size of a pixel."""
    named = {name: _dims(array) for name, array in arrays.items()}
    positions = {n for n, d in named.items() if d == (n.rpartition("/")[2],) and d[0].lower() in SPATIAL}
    found = {}
    for name, array in arrays.items():
        check_fits(name, array.chunks, array.dtype.itemsize, "a chunk")
        if name not in positions:
            folder = name.rpartition("/")[0]
            beside = {d: f"{folder}/{d}".lstrip("/") for d in named[name]}
            steps = {d: spacing_of(arrays[place][:]) for d, place in beside.items() if place in positions}
            found[name] = _source(array, named[name], {d: step for d, step in steps.items() if step is not None})
    return found


def _source(array: zarr.Array[Any], dims: tuple[str, ...], spacing: Mapping[str, float]) -> SourceArray:
    attributes = dict(array.attrs.asdict())
    fill = array.metadata.fill_value
    if array.metadata.zarr_format == 2 and fill is not None and fill != 0 and "_FillValue" not in attributes:
        attributes["_FillValue"] = fill  # as xarray writes it; 0 is what Zarr writes without being asked
    measured = decoded(array, attributes)
    given: Any = attributes.get("spacing")
    spatial = [d for d in dims if d.lower() in SPATIAL]
    if isinstance(given, list) and len(given) == len(spatial):
        spacing = {d: float(size) for d, size in zip(spatial, given, strict=True)}
    sizes = dict(spacing) or hdf_spacing(array.shape, dims, attributes)
    return SourceArray(measured or array, dims, attributes, None if measured is None else array, sizes)


def _dims(array: Any) -> tuple[str, ...]:
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    return tuple(map(str, names)) if all(names) and len(names) == len(array.shape) else ()


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME metadata of a group, empty if it has none: version 0.5 has them in ``ome``."""
    inner = attributes.get("ome")
    found = inner if isinstance(inner, Mapping) else attributes
    return found if "multiscales" in found or "plate" in found else {}


def _ome_images(group: zarr.Group) -> dict[str, zarr.Group]:
    """Return the groups with images at several scales: the group itself, or its numbered series."""
    if _ome(group.attrs.asdict()):
        return {"image": group}
    series = [(name, g) for name, g in sorted(group.groups()) if name.isdigit() and _ome(g.attrs.asdict())]
    return {"image": series[0][1]} if len(series) == 1 else {f"series{name}": g for name, g in series}


def _ome_content(images: Mapping[str, zarr.Group]) -> Content:
    arrays: dict[str, SourceArray] = {}
    labels: dict[str, SourceArray] = {}
    notes = []
    for name, group in images.items():
        arrays[name], note = _finest(group, ("y", "x", "channel"))
        notes.append(f"taken: {name}: {note}")
        found = group.get("labels")
        for label, member in sorted(found.groups()) if isinstance(found, zarr.Group) else ():
            if _ome(member.attrs.asdict()):
                prefix = "labels" if len(images) == 1 else f"{name}/labels"
                labels[f"{prefix}/{label}"] = _finest(member)[0]
    names = _channel_names(next(iter(images.values())))
    if names and "image" in arrays:
        arrays["channel"] = SourceArray(np.array(names), ("channel",))
    chosen = next(iter(labels)) if len(labels) == 1 else None
    known = ("image",) if "image" in arrays else ()
    return Content({**arrays, **labels}, images=known, label=chosen, notes=tuple(notes))


def _channel_names(group: zarr.Group) -> list[str]:
    """Return the labels of the channels in the metadata of OMERO; empty if not all of them have one."""
    attributes = group.attrs.asdict()
    inner = attributes.get("ome")
    shown = (inner if isinstance(inner, Mapping) else attributes).get("omero")
    channels = shown.get("channels") if isinstance(shown, Mapping) else None
    listed = channels if isinstance(channels, list) else []
    names = [str(channel.get("label") or "") for channel in listed if isinstance(channel, Mapping)]
    return names if len(names) > 1 and all(names) else []


def _finest(group: zarr.Group, kept: Sequence[str] = ("y", "x")) -> tuple[SourceArray, str]:
    """Return level 0 without axes of length 1 that are not kept, its size of a pixel, and what was taken."""
    scales = _ome(group.attrs.asdict())["multiscales"][0]
    level = scales["datasets"][0]
    array = group[level["path"]]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"level {level['path']} is no array")
    axes = _axes(scales.get("axes", "tczyx"[-array.ndim :]), array.ndim)
    names = [name for name, _ in axes]
    single = tuple(p for p, n in enumerate(names) if array.shape[p] == 1 and n not in kept)
    dims = tuple(name for place, name in enumerate(names) if place not in single)
    steps = np.ones(array.ndim)
    for step in (*level.get("coordinateTransformations", ()), *scales.get("coordinateTransformations", ())):
        if step.get("type") == "scale":
            steps = steps * np.asarray(step["scale"], dtype=np.float64)
    sizes = {n: float(s) for n, s in zip(names, steps, strict=True) if n in dims and n in SPATIAL and s > 0}
    units = {unit for name, unit in axes if name in sizes and unit}
    attributes = {"spacing_unit": units.pop()} if len(units) == 1 else {}
    number = len(scales["datasets"])
    note = f"the finest of {number} levels" if number > 1 else "its only level"
    values = Squeezed(array, single) if single else array
    return SourceArray(values, dims, attributes, None, sizes if (steps != 1).any() else {}), note


def _axes(given: Sequence[Any], rank: int) -> list[tuple[str, str]]:
    """Return our name and the unit of each axis; before version 0.4 axes are letters."""
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in given]
    if len(axes) != rank:
        raise ValueError(f"expected {rank} axes, got {len(axes)}")
    names = [str(axis["name"]) for axis in axes]
    kinds = [_KINDS.get(str(axis.get("type"))) for axis in axes]
    named = [kind or {"c": "channel"}.get(name, name) for kind, name in zip(kinds, names, strict=True)]
    return [(name, str(axis.get("unit") or "")) for name, axis in zip(named, axes, strict=True)]
