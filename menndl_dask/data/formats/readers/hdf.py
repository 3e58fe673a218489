"""HDF5 and NetCDF files, read lazily. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import reading


@contextmanager
def open_hdf5(path: Path) -> Iterator[Content]:
    """Open an HDF5 file; arrays in groups are named by their path, such as ``scan/image``."""
    with reading(path, "HDF5"):
        import h5py

        file = h5py.File(path, "r")
    with file:
        arrays: dict[str, SourceArray] = {}

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape:
                values = np.asarray(item.asstr()[:]) if h5py.check_string_dtype(item.dtype) else item
                labels = tuple(dimension.label for dimension in item.dims)
                arrays[name] = SourceArray(values, labels if all(labels) else (), dict(item.attrs))

        file.visititems(add)
        yield Content(arrays)


@contextmanager
def open_netcdf(path: Path) -> Iterator[Content]:
    """Open a NetCDF file; scaled and missing values of images are decoded, labels are as stored."""
    with reading(path, "NetCDF"):
        import netCDF4  # noqa: F401  xarray uses it

        decoded = xr.open_dataset(path, engine="netcdf4", cache=False)
        stored = xr.open_dataset(path, engine="netcdf4", cache=False, mask_and_scale=False)
    with decoded, stored:
        arrays = {}
        for name, array in decoded.variables.items():
            raw = stored[name]
            arrays[str(name)] = SourceArray(array, tuple(map(str, array.dims)), raw.attrs, raw.variable)
        yield Content(arrays)
