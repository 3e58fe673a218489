"""NumPy archives: ``.npz``, read in parts. Runs on the driver."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import reading
from menndl_dask.text import size

_LARGE = 256 * 2**20  # bytes of an array that is unpacked to the disk instead of to memory


class ArchivedArray:
    """An array of an archive: mapped from the file, or unpacked when it is read for the first time."""

    def __init__(self, path: Path, entry: zipfile.ZipInfo, folder: Path) -> None:
        """Read the header."""
        self._path, self._entry, self._folder = path, entry, folder
        with self._opened() as stream:
            self.shape, self._fortran, self.dtype = _header(stream)
            self._header = stream.tell()

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with reading(self._path, ".npz"), zipfile.ZipFile(self._path) as archive, archive.open(self._entry) as stream:
            yield stream

    @cached_property
    def _small(self) -> NDArray[Any] | None:
        """The values, if they are few."""
        if np.prod(self.shape, dtype=np.float64) * self.dtype.itemsize >= _LARGE:
            return None
        with self._opened() as stream:
            return npy.read_array(stream, allow_pickle=False)

    @cached_property
    def _place(self) -> tuple[Path, int]:
        """The file that holds the values as they are, and where they begin in it."""
        if self._entry.compress_type == zipfile.ZIP_STORED:
            return self._path, _data_offset(self._path, self._entry) + self._header
        expected = self._header + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if self._entry.file_size != expected or expected > (free := shutil.disk_usage(self._folder).free):
            room = size(expected) if self._entry.file_size != expected else f"at most {size(free)}, which are free"
            raise ValueError(f"{self._entry.filename}: expected {room}, got {size(self._entry.file_size)}")
        unpacked = self._folder / f"{self._entry.header_offset}.npy"
        with self._opened() as stream, unpacked.open("wb") as file:
            shutil.copyfileobj(stream, file, 2**20)
        return unpacked, self._header

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        if self._small is not None:
            return np.asarray(self._small[index])
        with reading(self._path, ".npz"):
            path, start = self._place
            shape = self.shape[::-1] if self._fortran else self.shape
            mapped: NDArray[Any] = np.memmap(path, self.dtype, "r", start, shape)  # only now: it counts as memory
            return np.array((mapped.T if self._fortran else mapped)[index])


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = read(stream)
    return tuple(shape), bool(fortran), np.dtype(kind)


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of an entry begin; its own header may be longer than the one in the directory."""
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()
    return int(entry.header_offset + 30 + name + extra)


@contextmanager
def open_npz(path: Path) -> Iterator[Content]:
    """Open an ``.npz`` file; arrays of many megabytes are mapped, or unpacked beside the other temporary files."""
    with ExitStack() as stack:
        with reading(path, ".npz"), zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="menndl-")))
            found = {e.filename.removesuffix(".npy"): ArchivedArray(path, e, folder) for e in entries}
        arrays = {name: SourceArray(array) for name, array in found.items() if not array.dtype.hasobject}
        objects = [name for name in found if name not in arrays]
        notes = (f"left out: {', '.join(objects)} (Python objects)",) if objects else ()
        yield Content(arrays, notes=notes)
