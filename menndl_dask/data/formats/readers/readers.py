"""Which reader opens a file. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.npz import open_npz
from menndl_dask.data.formats.readers.hdf import open_hdf5, open_netcdf
from menndl_dask.data.formats.readers.tiff import open_tiff

Opener = Callable[[Path], AbstractContextManager[Content]]
FORMATS: Mapping[str, Opener] = {
    ".npz": open_npz,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".hdf": open_hdf5,
    ".nc": open_netcdf,
    ".nc4": open_netcdf,
    ".tif": open_tiff,
    ".tiff": open_tiff,
}
"""Readers by the suffix of a file."""
