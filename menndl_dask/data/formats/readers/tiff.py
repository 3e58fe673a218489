"""TIFF arrays, read lazily page by page. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zarr

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import reading
from menndl_dask.errors import DataError

_AXES = {"Y": "y", "X": "x", "Z": "z", "C": "channel", "S": "channel"}


@contextmanager
def open_tiff(path: Path) -> Iterator[Content]:
    """Open a multi-page, ImageJ or OME TIFF as the array ``image``; its first axis is ``sample``."""
    with reading(path, "TIFF"):
        import tifffile

        file = tifffile.TiffFile(path)  # a TiffFileError is a ValueError
    with file:
        series = file.series[0]
        if len(series.shape) < 3:
            raise DataError(f"{path}: expected a stack of pages, got one page of shape {tuple(series.shape)}")
        pages = zarr.open_array(series.aszarr(level=0), mode="r")
        yield Content({"image": SourceArray(pages, _dims(series.axes))})


def _dims(axes: str) -> tuple[str, ...]:
    """Return our dimension names for the axes of tifffile; the first axis is always ``sample``.

    >>> _dims("ZYX"), _dims("TZCYX")
    (('sample', 'y', 'x'), ('sample', 'z', 'channel', 'y', 'x'))
    """
    return ("sample", *(_AXES.get(letter, f"axis{place}") for place, letter in enumerate(axes[1:], 1)))
