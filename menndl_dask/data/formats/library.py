"""Errors of the libraries that read other formats, turned into ours. Runs on the driver."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Pieces, Sliceable, SourceArray
from menndl_dask.errors import DataError, MenndlError, UserError, one_line

_LOGGERS = ("tifffile", "rasterio", "rsciio", "nibabel", "PIL")
_PACKAGES = {"PIL": "pillow", "rsciio": "rosettasciio"}
_EXTRA = 'pip install "menndl_dask[formats]"'
_COMMANDS = {"rosettasciio": "pip install rosettasciio"}  # of packages that are in no extra


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Say in one line that a file cannot be read as this kind, or which library must be installed for it.

    Libraries raise any exception for a damaged file, and warn of what a user cannot change.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # it would be read for ever
        raise DataError(f"{path}: cannot be read as {kind}: expected a file, got a fifo, a socket or a device")
    try:
        with _quiet():
            yield
    except MenndlError:
        raise
    except ImportError as error:
        name = (error.name or str(error)).partition(".")[0]
        needed = _PACKAGES.get(name, name)
        message = f"{path}: needs {needed}, which is not installed: {_COMMANDS.get(needed, _EXTRA)}"
        raise UserError(message) from None
    except Exception as error:  # libraries raise any exception
        message = f"{path}: cannot be read as {kind}: {one_line(error)}"
        with _quiet():
            traceback.clear_frames(error.__traceback__)  # what is half open closes here, not when the program ends
        raise DataError(message) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what libraries warn of, log, or say of files that they could not open whole."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    propagated = [logger.propagate for logger in loggers]
    hook, silent = sys.unraisablehook, logging.NullHandler()
    try:
        for logger in loggers:
            logger.propagate = False
            logger.addHandler(silent)
        sys.unraisablehook = lambda _: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook
        for logger, before in zip(loggers, propagated, strict=True):
            logger.propagate = before
            logger.removeHandler(silent)


@dataclass(frozen=True)
class FileArray:
    """An array of a file; an error while a part is read names the file and the array."""

    array: Sliceable
    path: Path
    kind: str
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, in the byte order of this machine."""
        kind = np.dtype(self.array.dtype)
        return kind if kind.kind == "T" else kind.newbyteorder("=")  # texts have no byte order

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        with reading(self.path, f"{self.kind}, array {self.name}"):
            values = np.asarray(self.array[index])
            return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


@dataclass(frozen=True)
class MappedArray:
    """Values that lie in one block of a file; it is mapped only while a part is read, so that memory stays small."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"] = "C"

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)[index])


def mapped(array: Any, path: Path) -> Sliceable:
    """Return a memory map as an array that is mapped only while it is read; another array as it is."""
    if not isinstance(array, np.memmap) or array.offset is None:
        return np.asarray(array)
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return MappedArray(path, array.dtype, int(array.offset), tuple(array.shape), order)


def guarded(arrays: Mapping[str, SourceArray], path: Path, kind: str) -> dict[str, SourceArray]:
    """Return arrays whose errors while they are read are one line with the name of the file."""

    def one(array: Sliceable, name: str) -> Sliceable:
        if isinstance(array, Pieces):
            return Pieces([FileArray(item, path, kind, name) for item in array.items])
        return FileArray(array, path, kind, name)

    return {
        name: replace(s, array=one(s.array, name), stored=None if s.stored is None else one(s.stored, name))
        for name, s in arrays.items()
    }
