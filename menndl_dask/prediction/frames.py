"""Frames that appear one by one: files in a folder, or an array that grows along its first axis. Runs on the driver."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from menndl_dask.data.axes import Axes
from menndl_dask.data.formats.content import IMAGES, Content, Pieces
from menndl_dask.data.formats.readers.readers import FORMATS, ending, opener
from menndl_dask.data.store.local_store import store_of
from menndl_dask.errors import DataError, one_line
from menndl_dask.moments import finite_or_nan
from menndl_dask.prediction.images import ImageSource, find_axes

Array = NDArray[Any]
_LATE_S = 1.0  # after which metadata that was written later than the last frame is taken to be of something else


class Found(NamedTuple):
    """A frame that seems to be complete."""

    name: str  # of the file, or the number along the first axis
    complete_at: float  # time of its last change, in seconds since the epoch
    state: tuple[int, ...]  # by which a later change is seen


@dataclass(frozen=True, slots=True)
class Frame(ImageSource):
    """Images in memory, read as those of a store are."""

    values: Array = field(default_factory=lambda: np.empty(0))

    def read(self, samples: slice, pixels: Any = ()) -> Array:
        """Return a part of the images, ``(sample, spatial…, channel)``."""
        pixels = pixels or (slice(None),) * len(self.axes.spatial)
        return self.values[(samples, *pixels)]


class Frames(Protocol):
    """Where frames appear."""

    def complete(self, done: Collection[str]) -> list[Found]:
        """Return the frames that are complete and not done, the earliest first."""

    def read(self, found: Found) -> Frame:
        """Return a frame; raises `DataError` if it cannot be read."""

    def has_changed(self, found: Found) -> bool:
        """Return whether a frame has been written to since it was found."""


def frame_of(values: Array, dims: tuple[str, ...], rank: int, channels: int, nodata: Any = None) -> Frame:
    """Return an array as images, with NaN where a value is missing; raises `DataError` if its axes do not fit."""
    names = dims or tuple(f"dim_{axis}" for axis in range(values.ndim))
    if values.dtype.kind not in "iufb":
        raise DataError(f"expected numbers, got values of kind {values.dtype.kind!r}")
    if 0 in values.shape:
        raise DataError(f"expected at least one pixel, got shape {values.shape}")
    axes = find_axes(names, values.shape, rank, channels)
    if nodata is not None:
        values = np.where(values == nodata, np.float32(np.nan), values.astype(np.float32))
    values = finite_or_nan(values).transpose(axes.order)
    values = values if axes.sample is not None else values[np.newaxis]
    values = values if axes.channel is not None else values[..., np.newaxis]
    spatial = tuple(range(1, 1 + rank))
    return Frame("", "", ("sample", *map(str, range(rank)), "channel"), values.shape, Axes(0, spatial, rank + 1),
                 values=values)  # fmt: skip


class FolderFrames:
    """Files of a folder; hidden ones and those of unknown endings are passed over.

    A file is complete when it has not changed for `settle_s` seconds.
    """

    def __init__(self, folder: Path, variable: str, rank: int, channels: int, settle_s: float) -> None:
        self._folder, self._variable, self._rank, self._channels = folder, variable, rank, channels
        self._settle_s = settle_s
        self._listed_at = -1
        self._names: list[str] = []

    def complete(self, done: Collection[str]) -> list[Found]:
        """Return the complete files that are not done, the earliest first."""
        self._list(done)
        seen = [found for name in self._names if name not in done and (found := self._found(name))]
        now = time.time()
        whole = [found for found in seen if now - found.complete_at >= self._settle_s]
        return sorted(whole, key=lambda found: (found.complete_at, found.name))

    def _list(self, done: Collection[str]) -> None:
        """List the folder if a file has come or gone."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed != self._listed_at:
                self._names = [
                    entry.name for entry in os.scandir(self._folder)
                    if not entry.name.startswith(".") and ending(Path(entry.name)) in FORMATS and entry.is_file()
                ]  # fmt: skip
                # one that comes within the same tick of the clock would be missed
                self._listed_at = changed if time.time_ns() - changed > 10**8 else -1
        except OSError as error:
            raise DataError(f"{self._folder}: cannot be read: {error.strerror}") from error
        self._names = [name for name in self._names if name not in done]

    def _found(self, name: str) -> Found | None:
        try:
            about = (self._folder / name).stat()
        except FileNotFoundError:
            return None
        # a file that was renamed has an earlier time of change than its name
        changed = max(about.st_mtime_ns, about.st_ctime_ns)
        return Found(name, changed / 1e9, (about.st_size, changed)) if about.st_size else None

    def read(self, found: Found) -> Frame:
        """Return the images of a file."""
        path = self._folder / found.name
        reader = opener(path)
        assert reader is not None
        with reader(path) as content:
            source = content.arrays[_name_of_images(content, self._variable, path)]
            if isinstance(source.array, Pieces):
                raise DataError(f"{path}: expected one array of images, got {len(source.array.items)} of unequal sizes")
            values = np.asarray(source.array[(slice(None),) * len(source.shape)])
        try:
            return frame_of(values, source.dims, self._rank, self._channels, source.attributes.get("nodata"))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def has_changed(self, found: Found) -> bool:
        """Return whether a file has been written to since it was found."""
        return self._found(found.name) != found


def _name_of_images(content: Content, variable: str, path: Path) -> str:
    """Return the name of the array with the images: as the network's input, as the format says, or a usual one."""
    if variable in content.arrays:
        return variable
    usual = [name for name in IMAGES if name in content.arrays]
    names = list(content.images) or usual or list(content.arrays)
    if len(names) != 1 and not usual:
        raise DataError(f"{path}: expected an array {variable!r}, found {', '.join(content.arrays) or 'none'}")
    return names[0]


class ZarrFrames:
    """An array of a Zarr store that grows along its first axis, one frame after the other.

    A frame is complete when its chunks are there, the last one when they were written after the array had grown to it.
    Chunks that hold zeros only may be left out: such a frame is complete when a later one is there.
    """

    def __init__(self, store: Path, variable: str, rank: int, channels: int) -> None:
        self._rank, self._channels = rank, channels
        self._path = store if _is_array(store) else store / variable
        metadata = next((p for name in ("zarr.json", ".zarray") if (p := self._path / name).is_file()), None)
        if metadata is None:
            raise DataError(f"{store}: expected a Zarr array, or a store with an array {variable!r}, found none")
        self._metadata, self._read_at, self._first = metadata, -1, 0
        self._array = self._open()

    def _open(self) -> zarr.Array[Any]:
        try:
            return zarr.open_array(store_of(str(self._path)), mode="r")
        except Exception as error:  # storage raises any exception
            raise DataError(f"{self._path}: cannot be read as Zarr: {one_line(error)}") from error

    def complete(self, done: Collection[str]) -> list[Found]:
        """Return the complete frames that are not done, in order."""
        with suppress(OSError):
            changed = self._metadata.stat().st_mtime_ns
            if changed != self._read_at:
                with suppress(DataError):  # it is being written
                    self._array = self._open()
                    self._read_at = changed
        while str(self._first) in done:
            self._first += 1
        found, is_last = [], True
        for number in reversed(range(self._first, self._array.shape[0])):
            if str(number) not in done and (each := self._found(number, is_last)):
                found.append(each)
            is_last = is_last and not found and str(number) not in done
        return found[::-1]

    def _found(self, number: int, is_last: bool) -> Found | None:
        grown = self._read_at / 1e9
        try:
            written = max((self._path / key).stat().st_mtime_ns for key in self._keys(number))
        except FileNotFoundError:
            return None if is_last or time.time() - grown < _LATE_S else Found(str(number), grown, ())
        if is_last and written / 1e9 < grown and time.time() - grown < _LATE_S:
            return None
        return Found(str(number), written / 1e9, (written,))

    def _keys(self, number: int) -> Iterator[str]:
        """Yield the names of the files that hold a frame."""
        array: Any = self._array
        chunks = array.shards or array.chunks
        counts = [math.ceil(n / chunk) for n, chunk in zip(array.shape[1:], chunks[1:], strict=True)]
        for rest in product(*map(range, counts)):
            yield array.metadata.encode_chunk_key((number // chunks[0], *rest))

    def read(self, found: Found) -> Frame:
        """Return the images of a frame."""
        array: Any = self._array
        named: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
        dims = tuple(f"dim_{axis}" if name is None else str(name) for axis, name in enumerate(named))
        nodata = array.attrs.get("nodata")
        try:
            values = np.asarray(array[int(found.name)])
            return frame_of(values, dims[1:], self._rank, self._channels, nodata)
        except DataError as error:
            raise DataError(f"{self._path}: frame {found.name}: {error}") from None
        except Exception as error:  # storage and codecs raise any exception
            raise DataError(f"{self._path}: frame {found.name}: cannot be read: {one_line(error)}") from error

    def has_changed(self, found: Found) -> bool:
        """Return whether a frame has been written to since it was found."""
        again = self._found(int(found.name), is_last=False)
        return again is not None and again.state != found.state


def _is_array(path: Path) -> bool:
    if (path / ".zarray").is_file():
        return True
    try:
        return isinstance(zarr.open(store_of(str(path)), mode="r"), zarr.Array)
    except Exception:  # noqa: BLE001  opening its array says what is wrong
        return False


def is_zarr_store(path: Path) -> bool:
    """Return whether a folder is a Zarr array or group."""
    return any((path / marker).is_file() for marker in ("zarr.json", ".zgroup", ".zarray", ".zmetadata"))
