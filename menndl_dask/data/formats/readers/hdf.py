"""HDF5 files, read lazily. Runs on the driver."""

from __future__ import annotations

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
            found = {name: _source(item) for name, item in _datasets(file, h5py).items()}
        yield Content(guarded(found, path, "HDF5"))


def _datasets(file: Any, h5py: Any) -> dict[str, Any]:
    """Return the arrays by path; what links lead to has the path of the link."""
    found: dict[str, Any] = {}
    visited = set()

    def add(group: Any, prefix: str) -> None:
        links = [(name, isinstance(group.get(name, getlink=True), h5py.HardLink)) for name in group]
        for name, _ in sorted(links, key=lambda link: not link[1]):
            item = group.get(name)  # None for a link that leads nowhere
            if isinstance(item, h5py.Group) and item.id not in visited:
                visited.add(item.id)
                add(item, f"{prefix}{name}/")
            elif isinstance(item, h5py.Dataset) and item.shape and not _is_axis(item, name, h5py):
                found[f"{prefix}{name}"] = item

    add(file, "")
    return found


def _is_axis(item: Any, name: str, h5py: Any) -> bool:
    """Whether an array holds the positions along a spatial axis or the channels, or no values at all."""
    return bool(h5py.h5ds.is_scale(item.id)) and (
        name.lower() in (*SPATIAL, *CHANNEL) or b"not a netCDF variable" in bytes(item.attrs.get("NAME", b""))
    )


def _source(item: Any) -> SourceArray:
    attributes = {name: item.attrs[name] for name in item.attrs if name not in ("REFERENCE_LIST", "DIMENSION_LIST")}
    if item.dtype.kind == "O":  # texts of any length, else unusable
        return SourceArray(np.asarray(item.asstr()[:]), _dims(item), attributes)
    measured, dims = decoded(item, attributes), _dims(item)
    stored = None if measured is None else item
    return SourceArray(measured or item, dims, attributes, stored, hdf_spacing(item.shape, dims, attributes))


def _dims(item: Any) -> tuple[str, ...]:
    names = tuple(d.label or (d[0].name.rpartition("/")[2] if len(d) else "") for d in item.dims)
    return names if all(names) and len(set(names)) == len(names) else ()


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
