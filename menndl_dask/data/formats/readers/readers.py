"""Which reader opens a file. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
"""Readers by the ending of a file's name; an ending may have several parts, such as ``.nii.gz``."""


def ending(path: Path, known: Iterable[str] = FORMATS) -> str:
    """Return the longest known ending of a file's name, in lower case; else its suffix.

    >>> ending(Path("a.b.TIF")), ending(Path("scan.xyz"))
    ('.tif', '.xyz')
    """
    name = path.name.lower()
    fitting = [end for end in known if name.endswith(end) and len(name) > len(end)]
    return max(fitting, key=len, default=path.suffix.lower())
