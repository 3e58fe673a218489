"""Files of a folder that hold images and their labels each, such as one ``.npz`` a volume. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import SAMPLE
from menndl_dask.data.formats.content import CLASSES, LABELS, ORDERED, Content, Pieces, Sliceable, SourceArray
from menndl_dask.data.formats.folders.folder_listing import FolderImage, listed
from menndl_dask.data.formats.folders.image_file import OpenFile, member
from menndl_dask.data.formats.readers.readers import ending
from menndl_dask.errors import DataError
from menndl_dask.text import counted

_ENDINGS = (".npz", ".h5", ".hdf5", ".hdf", ".he5", ".nc", ".nc4", ".cdf", ".netcdf", ".zarr", ".zarr.zip")
_PLURAL = ("images", "x", "X", "imgs", "frames", "labels", "masks", "targets", "y", "Y")
_EACH = ("split", "name", "names", "file", "id", "ids", "group", "groups", "scene", "patient", "sample", "index")


@dataclass(frozen=True)
class Joined:
    """Arrays one after another along their first axis."""

    arrays: Sequence[Sliceable]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        return (sum(array.shape[0] for array in self.arrays), *self.arrays[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the values of all."""
        return Pieces(self.arrays).dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a slice along the first axis, and any part of the others."""
        first, *rest = index if isinstance(index, tuple) else (index,)
        first = slice(None) if first is Ellipsis else first
        start, stop, _ = first.indices(self.shape[0])
        read = []
        for array in self.arrays:
            length = array.shape[0]
            if start < length and stop > 0:
                read.append(np.asarray(array[(slice(max(start, 0), min(stop, length)), *rest)]))
            start, stop = start - length, stop - length
        return np.concatenate(read) if read else np.zeros((0, *self.shape[1:]), self.dtype)


def is_collection(files: Sequence[Path], opened: OpenFile) -> bool:
    """Whether all files can hold several arrays, and the first holds labels beside its images."""
    if not all(ending(file, _ENDINGS) in _ENDINGS for file in files):
        return False
    content = opened.get(files[0])
    return content.label is not None or any(name.rpartition("/")[2] in LABELS for name in content.arrays)


def open_collection(path: Path, entries: Sequence[FolderImage], opened: OpenFile, notes: Sequence[str]) -> Content:
    """Return the arrays that all files have: each file is one sample, or holds several along the first axis.

    A file holds several samples if its arrays are named in the plural (``images``, ``X``), if a dimension is called so,
    or if its labels are one for each image.
    """
    contents = []
    first = opened.get(entries[0].file)
    for entry in entries:
        content = opened.get(entry.file)
        contents.append({name: _member(entry.file, name, source, opened) for name, source in content.arrays.items()})
    shared = [name for name in contents[0] if all(name in arrays for arrays in contents)]
    several = _several(contents[0], first)
    arrays = {name: _merged(name, [arrays[name] for arrays in contents], several) for name in shared}
    found = {name: source for name, source in arrays.items() if source is not None}
    lines = list(notes)
    partly = sorted({name for arrays_ in contents for name in arrays_} - set(found))
    if partly:
        lines.append(f"left out: {listed(partly)} (not in all files, or of no use as images or labels)")
    numbers = [_length(arrays, several) for arrays in contents] if several else [1] * len(contents)
    what = "its first axis is the samples" if several else "each file is one image"
    lines.append(f"axes: {counted(len(entries), 'file')} of the folder, {what}")
    columns: dict[str, Any] = {"file": [entry.file.relative_to(path).as_posix() for entry in entries]}
    if any(entry.split for entry in entries):
        columns["split"] = [entry.split for entry in entries]
        lines.append("splits are those of the names of the files")
    for name, values in columns.items():
        found[name] = SourceArray(np.repeat(np.array(values), numbers))
    lines.insert(0, f"taken: {len(entries):,} of {counted(len(entries), 'file')}")
    return Content(found, first.classes, first.images, first.label, notes=tuple(lines))


def _member(file: Path, name: str, source: SourceArray, opened: OpenFile) -> SourceArray:
    if len(source.shape) <= 1:  # small: read now
        return SourceArray(np.asarray(source.array[...]), source.dims, source.attributes)
    stored = None if source.stored is None else member(file, name, source, opened, True)
    array = member(file, name, source, opened, False)
    return SourceArray(array, source.dims, source.attributes, stored, source.spacing)


def _several(arrays: dict[str, SourceArray], content: Content) -> str | None:
    """Return the name of an array whose first axis is the samples of a file; None if a file is one sample."""
    large = {name: source for name, source in arrays.items() if len(source.shape) > 1}
    for name, source in large.items():
        if any(dim.lower() in (*SAMPLE, *ORDERED) for dim in source.dims):
            return name
    if any(source.dims for source in large.values()):
        return None
    for name, source in large.items():
        if name.rpartition("/")[2] in _PLURAL and len(source.shape) > 2:
            return name
    label = content.label or next((n for n in LABELS if n in arrays), None)
    lengths = {source.shape[0] for source in large.values()}
    flat = [name for name, source in arrays.items() if len(source.shape) == 1 and lengths == {source.shape[0]}]
    if label in flat or any(name.lower() in _EACH for name in flat):
        return next(iter(large))
    return None


def _length(arrays: dict[str, SourceArray], name: str) -> int:
    return int(arrays[name].shape[_axis(arrays[name])])


def _axis(source: SourceArray) -> int:
    places = [place for place, dim in enumerate(source.dims) if dim.lower() in (*SAMPLE, *ORDERED)]
    return places[0] if places else 0


def _merged(name: str, sources: Sequence[SourceArray], several: str | None) -> SourceArray | None:
    """Return the array of all files, with ``sample`` first; None if there is no place for it."""
    first = sources[0]
    if name in CLASSES or (len(first.shape) == 1 and first.dims == (name.rpartition("/")[2],)):
        return first
    if any(len(source.shape) != len(first.shape) or source.dims != first.dims for source in sources):
        raise DataError(f"{name}: expected arrays of equal dimensions in all files, got {_shapes(sources)}")
    arrays = [source.array for source in sources]
    stored = None if first.stored is None else [source.stored for source in sources if source.stored is not None]
    if several is not None and first.shape:
        if _axis(first) != 0 or len({source.shape[1:] for source in sources}) > 1:
            raise DataError(f"{name}: expected images of one size in all files, got {_shapes(sources)}")
        return SourceArray(Joined(arrays), first.dims, first.attributes, Joined(stored) if stored else None)
    if not first.shape:
        return SourceArray(np.array([np.asarray(array[()]) for array in arrays]))
    if len(first.shape) == 1:
        return None
    dims = ("sample", *first.dims) if first.dims else ()
    pieces = Pieces(stored) if stored else None
    return SourceArray(Pieces(arrays), dims, first.attributes, pieces, first.spacing)


def _shapes(sources: Sequence[SourceArray]) -> str:
    return listed(sorted({str(source.shape) for source in sources}))
