"""HDF5 files, read lazily. Runs on the driver."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.axes import CHANNEL, SPATIAL
from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import guarded, reading
from menndl_dask.data.formats.outside import check_hdf5
from menndl_dask.data.formats.views import decoded


@contextmanager
def open_hdf5(path: Path) -> Iterator[Content]:
    """Open an HDF5 file; arrays in groups are named by their path, such as ``scan/image``.

    Dimensions have names where the file labels them or attaches scales, as NetCDF does. Scaled and missing values of
    images are decoded, labels are as stored. An attribute ``resolution`` or ``element_size_um`` is the size of a pixel.
    """
    with reading(path, "HDF5"):
        import h5py

        check_hdf5(path)
        file = h5py.File(path, "r")
    with file:
        with reading(path, "HDF5"):
            arrays, nowhere = _datasets(file, h5py)
            kinds = {name: _unusable(item, h5py) for name, item in arrays.items()}
            found = {name: _source(item, h5py) for name, item in arrays.items() if not kinds[name]}
            kinds |= dict.fromkeys(nowhere, "a link that leads to nothing")
            notes = tuple(f"left out: {name} ({kind})" for name, kind in kinds.items() if kind)
        yield Content(guarded(found, path, "HDF5"), notes=notes)


def _datasets(file: Any, h5py: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the arrays by path, of which links have their own, and the links that lead to nothing."""
    found: dict[str, Any] = {}
    nowhere: list[str] = []
    visited = set()

    def add(group: Any, prefix: str) -> None:
        links = [(name, isinstance(group.get(name, getlink=True), h5py.HardLink)) for name in group]
        for name, _ in sorted(links, key=lambda link: not link[1]):
            item = group.get(name)
            if item is None:
                nowhere.append(f"{prefix}{name}")
            if isinstance(item, h5py.Group) and item.id not in visited:
                visited.add(item.id)
                add(item, f"{prefix}{name}/")
            elif isinstance(item, h5py.Dataset) and item.shape and not _is_axis(item, name, h5py):
                found[f"{prefix}{name}"] = item

    add(file, "")
    return found, nowhere


def _is_axis(item: Any, name: str, h5py: Any) -> bool:
    """Whether an array holds the positions along a spatial axis or the channels, or no values at all."""
    return bool(h5py.h5ds.is_scale(item.id)) and (
        name.lower() in (*SPATIAL, *CHANNEL) or b"not a netCDF variable" in bytes(item.attrs.get("NAME", b""))
    )


def _unusable(item: Any, h5py: Any) -> str:
    """Return what an array holds if it can be no images or labels; empty if it can be."""
    if h5py.check_ref_dtype(item.dtype) is not None:
        return "references to other arrays, such as a cell array of MATLAB"
    if h5py.check_vlen_dtype(item.dtype) is not None and h5py.check_string_dtype(item.dtype) is None:
        return "arrays of unequal length"
    if item.dtype.names:
        return f"a table with the columns {', '.join(item.dtype.names)}; save each as an array of its own"
    return ""


def _source(item: Any, h5py: Any) -> SourceArray:
    attributes = {name: item.attrs[name] for name in item.attrs if name not in ("REFERENCE_LIST", "DIMENSION_LIST")}
    names = h5py.check_enum_dtype(item.dtype)  # and the number of each
    if names and item.dtype.kind in "iu" and sorted(names.values()) == list(range(len(names))):
        attributes.setdefault("classes", sorted(names, key=lambda name: names[name]))
    if item.dtype.kind == "O":  # texts of any length, else unusable
        return SourceArray(np.asarray(item.asstr()[:]), _dims(item), attributes)
    measured, dims = decoded(item, attributes), _dims(item)
    stored = None if measured is None else item
    return SourceArray(measured or item, dims, attributes, stored, hdf_spacing(item.shape, dims, attributes))


def _dims(item: Any) -> tuple[str, ...]:
    names = tuple(d.label or (d[0].name.rpartition("/")[2] if len(d) else "") for d in item.dims)
    names = names if any(names) else _axistags(item)
    return names if all(names) and len(set(names)) == len(names) == len(item.shape) else ()


def _axistags(item: Any) -> tuple[str, ...]:
    """Return the names of axes as ilastik writes them; see https://ukoethe.github.io/vigra."""
    try:
        return tuple(str(axis["key"]) for axis in json.loads(item.attrs["axistags"])["axes"])
    except (KeyError, TypeError, ValueError):
        return ()


def hdf_spacing(shape: tuple[int, ...], dims: tuple[str, ...], attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the size of a pixel for an attribute with a number for each axis, as z, y, x if axes have no names.

    ``resolution`` is that of CREMI (https://cremi.org/data), ``element_size_um`` that of ImageJ and ilastik.
    """
    for name in ("resolution", "element_size_um"):
        if name in attributes:
            values = np.ravel(np.asarray(attributes[name]))
            if values.dtype.kind in "iuf" and len(values) == len(shape) and (values > 0).all():
                names = dims or ("z", "y", "x")[-len(values) :]
                return dict(zip(names, map(float, values), strict=False))
    return {}
