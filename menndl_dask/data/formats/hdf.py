"""HDF5 and NetCDF files, read lazily. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import needed_for
from menndl_dask.errors import DataError, one_line


@contextmanager
def open_hdf5(path: Path) -> Iterator[Content]:
    """Open an HDF5 file; arrays in groups are named by their path, such as ``scan/image``."""
    with needed_for(path):
        import h5py
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5: {one_line(error)}") from None
    with file:
        arrays: dict[str, SourceArray] = {}

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape:
                values = np.asarray(item.asstr()[:]) if h5py.check_string_dtype(item.dtype) else item
                arrays[name] = SourceArray(values, _labels(item), dict(item.attrs))

        file.visititems(add)
        yield Content(arrays)


def _labels(item: Any) -> tuple[str, ...]:
    labels = tuple(dimension.label for dimension in item.dims)
    return labels if all(labels) else ()


@contextmanager
def open_netcdf(path: Path) -> Iterator[Content]:
    """Open a NetCDF file; scaled and missing values of images are decoded, labels are as stored."""
    with needed_for(path):
        import netCDF4  # noqa: F401  xarray uses it
    try:
        decoded = xr.open_dataset(path, engine="netcdf4", cache=False)
        stored = xr.open_dataset(path, engine="netcdf4", cache=False, mask_and_scale=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as NetCDF: {one_line(error)}") from None
    with decoded, stored:
        arrays = {}
        for name, array in decoded.variables.items():
            raw = stored[name]
            arrays[str(name)] = SourceArray(array, tuple(map(str, array.dims)), raw.attrs, raw.variable)
        yield Content(arrays)
