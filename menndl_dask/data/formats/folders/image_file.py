"""Image files of a folder, of which the size is known before their pixels are read. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import SAMPLE, format_dims
from menndl_dask.data.formats.content import IMAGES, ORDERED, Content, Pieces, SourceArray
from menndl_dask.data.formats.library import reading
from menndl_dask.data.formats.readers.picture import LOSSY, PILLOW, TURNED, check_room, is_turned, upright
from menndl_dask.data.formats.readers.readers import FORMATS, ending
from menndl_dask.errors import DataError
from menndl_dask.text import counted

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
"""Endings of the files that Pillow reads here."""

_TOLD = ("changed: ", "note: ", "left out: ")  # notes of a file that are said of its folder
_TYPES = {"I;16": "uint16", "I;16B": "uint16", "I": "int32", "F": "float32"}
_READ_AS = {"1": "L", "LA": "L", "PA": "RGB", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB"}
_CHANNELS = {"RGB": 3, "RGBA": 4}


@dataclass(frozen=True)
class Picture:
    """A picture of Pillow as an array ``(y, x)`` or ``(y, x, channel)``; it is decoded whole when a part is read."""

    path: Path
    size: tuple[int, int]  # y, x
    stored: str  # Pillow's mode of the file
    mode: str  # and the one in which it is read
    turned: bool = False  # as its orientation says
    frames: int = 1  # of which the first one is read

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        channels = _CHANNELS.get(self.mode)
        return self.size if channels is None else (*self.size, channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(_TYPES.get(self.mode, "uint8"))

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Decode a part."""
        part: NDArray[Any] = _decoded(self.path, self.mode)[index]
        return part


def open_picture_file(path: Path, mask: bool) -> Picture:
    """Read the header of a picture.

    Palettes are read as colours in images and as class numbers in masks; black and white as 0 and 255.
    """
    with _opened(path) as picture:
        stored = str(picture.mode)
        turned, frames = is_turned(picture), int(getattr(picture, "n_frames", 1))
        width, height = upright(picture).size if turned else picture.size
        size = (int(height), int(width))
    mode = "P" if mask and stored == "P" else _READ_AS.get(stored, stored)
    if mode not in ("L", "P", "RGB", "RGBA", *_TYPES):
        raise DataError(f"{path}: expected grey values or colours, got the mode {stored}")
    return Picture(path, size, stored, mode, turned, frames)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with reading(path, "an image"):
        from PIL import Image

        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # sections and scans have 100 million pixels
        try:
            with Image.open(path, formats=PILLOW) as picture:
                check_room(picture)
                yield picture
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@lru_cache(maxsize=1)  # blocks of one large picture are read one after another
def _decoded(path: Path, mode: str) -> NDArray[Any]:
    with _opened(path) as picture:
        shown = upright(picture)
        return np.asarray(shown if shown.mode == mode else shown.convert(mode))


@dataclass
class OpenFile:
    """The file of a folder that was read last: it stays open until another is read."""

    path: Path | None = None
    content: Content = field(default_factory=lambda: Content({}))
    stack: ExitStack = field(default_factory=ExitStack)
    beside: list[tuple[Path, list[str]]] = field(default_factory=list)  # files with more than the image that is taken
    changes: dict[str, None] = field(default_factory=dict)  # what the readers changed in the files so far, in order

    def get(self, path: Path) -> Content:
        """Return the content of a file."""
        if path != self.path:
            self.close()
            self.content, self.path = self.stack.enter_context(FORMATS[ending(path)](path)), path
            self.changes.update(dict.fromkeys(note for note in self.content.notes if note.startswith(_TOLD)))
        return self.content

    def close(self) -> None:
        """Close the file that is open."""
        self.path = None
        self.stack.close()
        _decoded.cache_clear()


@dataclass(frozen=True)
class Member:
    """An array of a file that is opened when a part is read."""

    path: Path
    name: str  # of the array in the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opened: OpenFile
    stored: bool = False  # the values before decoding

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""
        source = self.opened.get(self.path).arrays[self.name]
        array = source.stored if self.stored and source.stored is not None else source.array
        return np.asarray(array[index])


def member(path: Path, name: str, source: SourceArray, opened: OpenFile, label: bool) -> Member:
    """Return an array of a file that is opened again when it is read."""
    label = label and source.stored is not None and np.dtype(source.stored.dtype).kind != "f"  # else NaN is no label
    array = source.stored if label and source.stored is not None else source.array
    return Member(path, name, tuple(map(int, array.shape)), np.dtype(array.dtype), opened, label)


def image_arrays(files: Sequence[Path], mask: bool, opened: OpenFile) -> tuple[SourceArray, list[str]]:
    """Return the images of files as one array with ``sample`` first, and what was changed.

    Raises
    ------
    DataError
        If a file cannot be read, or has other axes or another type than the first.
    """
    opened.beside.clear()
    sources = [_source(file, mask, opened) for file in files]
    pictures = [source.array for source in sources if isinstance(source.array, Picture)]
    notes = []
    modes = {picture.mode for picture in pictures}
    if len(modes) > 1:
        common = _common_mode(pictures, modes)
        other = sum(picture.mode != common for picture in pictures)
        kinds = " and ".join(sorted(modes - {common}))
        notes.append(f"changed: {other:,} of {counted(len(pictures), 'picture')} ({kinds}) are read as {common}")
        again = iter([replace(picture, mode=common) for picture in pictures])
        arrays: list[Any] = [next(again) if isinstance(s.array, Picture) else s.array for s in sources]
        sources = [_as_source(array, source) for array, source in zip(arrays, sources, strict=True)]
    if any(picture.turned for picture in pictures):
        notes.append(TURNED)
    animated = [picture for picture in pictures if picture.frames > 1]
    if animated:
        where = f"{counted(len(animated), 'picture')}, such as {animated[0].path.name}"
        notes.append(f"left out: all frames but the first of {where}")
    if mask and modes == {"P"}:
        notes.append("changed: masks with palettes: the place of a colour in the palette is its class number")
    if not mask and {picture.stored for picture in pictures} & {"P", "PA"}:
        notes.append("changed: pictures with palettes are read as colours")
    if not mask and modes == {"RGBA"}:
        notes.append("note: the fourth channel of the pictures is opacity (alpha), and is kept as a channel")
    if not mask and "LA" in {picture.stored for picture in pictures}:
        notes.append("left out: the opacity (alpha) of grey pictures")
    if opened.beside:
        (first, names), number = opened.beside[0], counted(len(opened.beside), "file")
        notes.append(f"left out: further arrays of {number}, such as {', '.join(names[:3])} of {first.name}")
    _check_alike(files, sources)
    dims, said = _dims_in_folder(files[0], sources[0].dims)
    items = Pieces([source.array for source in sources])
    spacing = sources[0].spacing if all(source.spacing == sources[0].spacing for source in sources) else {}
    if not spacing and sources[0].spacing and not mask:
        unlike = next(file for file, s in zip(files, sources, strict=True) if s.spacing != sources[0].spacing)
        notes.append(f"left out: the sizes of pixels, which differ between {files[0].name} and {unlike.name}")
    grids = tuple(source.grids[0] if source.grids else None for source in sources)
    attributes = dict(sources[0].attributes)
    if any(file.suffix.lower() in LOSSY for file in files):
        attributes["lossy"] = True
    changes = [] if mask else list(opened.changes)
    found = SourceArray(items, dims, attributes, None, spacing, grids if any(grids) else ())
    return found, [*notes, *changes, *said]


def _source(file: Path, mask: bool, opened: OpenFile) -> SourceArray:
    if ending(file, PICTURES) in PICTURES:
        picture = open_picture_file(file, mask)
        return _as_source(picture, None)
    content = opened.get(file)
    name = next(iter(content.images), None) or _only_image(file, content)
    if beside := [other for other, found in content.arrays.items() if other != name and len(found.shape) > 1]:
        opened.beside.append((file, beside))
    source = content.arrays[name]
    return replace(source, array=member(file, name, source, opened, mask), stored=None)


def _as_source(array: Any, source: SourceArray | None) -> SourceArray:
    if isinstance(array, Picture):
        return SourceArray(array, ("y", "x", "channel")[: len(array.shape)])
    assert source is not None
    return source


def _only_image(file: Path, content: Content) -> str:
    for name in IMAGES:
        if name in content.arrays:
            return name
    found = [name for name, source in content.arrays.items() if len(source.shape) > 1]
    if len(found) != 1:
        raise DataError(f"{file}: expected one image, found {', '.join(found) or 'no array'}")
    return found[0]


def _common_mode(pictures: Sequence[Picture], modes: set[str]) -> str:
    if modes <= {"L", "RGB", "RGBA"}:
        return "RGB"
    first = pictures[0]
    other = next(picture for picture in pictures if picture.mode != first.mode)
    raise DataError(f"{other.path}: expected a picture of the mode {first.mode} as {first.path.name}, got {other.mode}")


def _check_alike(files: Sequence[Path], sources: Sequence[SourceArray]) -> None:
    first, name = sources[0], files[0].name
    channel = first.dims.index("channel") if "channel" in first.dims else None
    for file, source in zip(files, sources, strict=True):
        if source.dims != first.dims or len(source.shape) != len(first.shape):
            expected = format_dims(first.dims or [f"{len(first.shape)} axes"])
            got = format_dims(source.dims or [f"{len(source.shape)} axes"])
            raise DataError(f"{file}: expected an image {expected} as {name}, got {got} of shape {source.shape}")
        if channel is not None and source.shape[channel] != first.shape[channel]:
            raise DataError(
                f"{file}: expected {counted(first.shape[channel], 'channel')} as {name}, got {source.shape[channel]}"
            )
        if source.attributes.get("photometric") != first.attributes.get("photometric"):
            raise DataError(f"{file}: expected 0 to be black or white as in {name}, got the opposite (WhiteIsZero)")
        if source.array.dtype != first.array.dtype:
            raise DataError(
                f"{file}: expected values of type {first.array.dtype} as {name}, got {source.array.dtype}: types have "
                "scales of their own, so save all images in one"
            )


def _dims_in_folder(file: Path, dims: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Return dimensions with ``sample`` first: pages of a file are the planes of a volume."""
    if not dims:
        return (), []
    ordered = [name for name in dims if name.lower() in (*ORDERED, *SAMPLE)]
    if not ordered:
        return ("sample", *dims), []
    if len(ordered) > 1 or "z" in dims:
        expected = "one image or volume in a file of a folder"
        raise DataError(
            f"{file}: expected {expected}, got the dimensions {format_dims(dims)}; convert the files one by one"
        )
    named = tuple("z" if name == ordered[0] else name for name in dims)
    return ("sample", *named), [f"axes: the pages of a file ({ordered[0]}) are taken to be the planes of a volume (z)"]
