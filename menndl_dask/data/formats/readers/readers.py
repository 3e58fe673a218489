"""Which reader opens a file. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.npz import open_npz
from menndl_dask.data.formats.readers.geotiff import open_raster
from menndl_dask.data.formats.readers.hdf import open_hdf5
from menndl_dask.data.formats.readers.mrc import SUFFIXES as MRC
from menndl_dask.data.formats.readers.mrc import open_mrc
from menndl_dask.data.formats.readers.nifti import open_nifti
from menndl_dask.data.formats.readers.picture import open_npy, open_picture
from menndl_dask.data.formats.readers.rosetta import SUFFIXES as MICROSCOPES
from menndl_dask.data.formats.readers.rosetta import open_rosetta
from menndl_dask.data.formats.readers.tiff import open_tiff
from menndl_dask.data.formats.readers.xarray_engine import UnknownFormatError, open_by_engine, open_netcdf
from menndl_dask.data.formats.readers.zarr_store import is_zarr, open_zarr
from menndl_dask.errors import DataError

Opener = Callable[[Path], AbstractContextManager[Content]]
FORMATS: Mapping[str, Opener] = {
    ".npz": open_npz,
    ".npy": open_npy,
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), open_hdf5),
    **dict.fromkeys((".nc", ".nc4", ".cdf", ".netcdf"), open_netcdf),
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf8", ".lsm"), open_tiff),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm"), open_picture),
    **dict.fromkeys((".jp2", ".vrt", ".asc"), open_raster),
    **dict.fromkeys(MRC, open_mrc),
    **dict.fromkeys((".nii", ".nii.gz", ".mgz"), open_nifti),
    **dict.fromkeys(MICROSCOPES, open_rosetta),
    ".zarr.zip": open_zarr,
}
"""Readers by the ending of a file's name; an ending may have several parts, such as ``.nii.gz``."""


_USUAL = (".npz", ".npy", ".h5", ".nc", ".tif", ".png", ".jpg", ".nii.gz", ".mrc", ".dm4")
_ARRAYS = "load its arrays and save them by numpy.savez(FILE.npz, image=…, label=…)"
_TABLE = "a table has labels or positions, for --label; save signals in its rows by numpy.save as .npy"
_EXPORT = "export it as OME-TIFF, for example with Fiji or bioformats2raw"
_HINTS: Mapping[str, str] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".xlsx"), _TABLE),
    **dict.fromkeys((".mat", ".pkl", ".pickle", ".pt", ".pth", ".parquet", ".tfrecord"), _ARRAYS),
    **dict.fromkeys((".czi", ".nd2", ".lif", ".oib", ".oif", ".svs", ".ndpi", ".mrxs"), _EXPORT),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), "unpack it, and convert what it holds"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "convert it to .nii.gz, for example with dcm2niix"),
}
"""What to do with files of other kinds."""


def ending(path: Path, known: Iterable[str] = FORMATS) -> str:
    """Return the longest known ending of a file's name, in lower case; else its suffix.

    >>> ending(Path("a.b.TIF")), ending(Path("scan.xyz"))
    ('.tif', '.xyz')
    """
    name = path.name.lower()
    fitting = [end for end in known if name.endswith(end) and len(name) > len(end)]
    return max(fitting, key=len, default=path.suffix.lower())


def opener(path: Path) -> Opener | None:
    """Return the reader of a file, or of a folder that is a Zarr store; None for another folder.

    Files with other endings are left to the engines of xarray.
    """
    if path.is_dir():
        return open_rosetta if path.suffix.lower() == ".zspy" else open_zarr if is_zarr(path) else None
    return FORMATS.get(ending(path), _open_other)


@contextmanager
def _open_other(path: Path) -> Iterator[Content]:
    """Open a file with an ending that no reader knows."""
    try:
        with open_by_engine(path) as content:
            yield content
    except UnknownFormatError:
        got = path.suffix.lower() or "no suffix"
        hint = _HINTS.get(got, "docs/formats.md lists all")
        expected = f"a folder of images, a file such as {', '.join(_USUAL)}, or one that xarray opens"
        raise DataError(f"{path}: expected {expected}; got {got}: {hint}") from None
