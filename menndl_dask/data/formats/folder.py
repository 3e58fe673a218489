"""Folders of images: one subfolder per class, or images and masks of the same name. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import SPLIT_NAMES, Content, SourceArray, numbered, split_name
from menndl_dask.data.formats.library import reading
from menndl_dask.errors import DataError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
_IMAGES = ("images", "image", "img", "imgs")
_MASKS = ("labels", "masks", "label", "mask", "annotations")


@dataclass(frozen=True)
class ImageFiles:
    """Image files of equal shape and data type as one array, read when it is sliced."""

    files: Sequence[Path]  # one for each sample
    mask: bool = False  # whether values are class numbers: palette images are read as indices, not as colours

    @cached_property
    def _first(self) -> NDArray[Any]:
        return _read(self.files[0], self.mask)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of files, followed by the shape of the first image."""
        return (len(self.files), *self._first.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._first.dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read the files of a slice."""
        places, *rest = index if isinstance(index, tuple) else (index,)
        chosen: Any = self.files[places]
        read = [_read(file, self.mask) for file in chosen]
        for file, values in zip(chosen, read, strict=True):
            if values.shape != self.shape[1:] or values.dtype != self.dtype:
                expected = f"{self.shape[1:]} {self.dtype} as {self.files[0].name}"
                raise DataError(f"{file}: expected an image of shape {expected}, got {values.shape} {values.dtype}")
        return np.stack(read)[(slice(None), *rest)]


def _read(file: Path, mask: bool) -> NDArray[Any]:
    with reading(file, "an image"):
        import tifffile
        from PIL import Image

        if file.suffix.lower() in (".tif", ".tiff"):
            return np.asarray(tifffile.imread(file))
        with Image.open(file) as picture:
            kept = picture if picture.mode not in ("P", "1") or (mask and picture.mode == "P") else None
            values = np.asarray(kept or picture.convert("RGB" if picture.mode == "P" else "L"))
    if mask and values.ndim == 3:
        raise DataError(f"{file}: expected class numbers in one channel, got {values.shape[-1]} channels")
    return values


@contextmanager
def open_folder(path: Path) -> Iterator[Content]:
    """Open a folder of images.

    Subfolders ``images`` and ``labels`` (or ``masks``) hold images and their class numbers under equal names; any other
    subfolders are classes. Either may be inside of subfolders ``train``, ``validation`` (or ``val``) and ``test``.
    """
    parts = {split_name(d.name): d for d in _folders(path) if d.name.lower() in SPLIT_NAMES}
    roots = parts or {"": path}
    masked = {_subfolder(root, _MASKS) is not None for root in roots.values()}
    if len(masked) > 1:
        raise DataError(f"{path}: expected masks in all of {', '.join(roots)} or in none")
    found = {name: _pairs(root) if True in masked else _classified(root) for name, root in roots.items()}
    files, others = zip(*chain.from_iterable(found.values()), strict=True)
    dims = ("sample", "y", "x", "channel")
    images = ImageFiles(files)
    arrays = {"image": SourceArray(images, dims[: len(images.shape)])}
    classes: tuple[str, ...] = ()
    if True in masked:
        arrays["label"] = SourceArray(ImageFiles(others, mask=True), dims[:3])
    else:
        numbers, classes = numbered(others)
        arrays["label"] = SourceArray(numbers)
    arrays["file"] = SourceArray(np.array([str(file.relative_to(path)) for file in files]))
    if parts:
        arrays["split"] = SourceArray(np.repeat(list(found), [len(pairs) for pairs in found.values()]))
    yield Content(arrays, classes)


def _folders(path: Path) -> list[Path]:
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))


def _subfolder(path: Path, names: Sequence[str]) -> Path | None:
    return next((d for d in _folders(path) if d.name.lower() in names), None)


def _image_files(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES and not f.name.startswith("."))


def _classified(root: Path) -> list[tuple[Path, Any]]:
    """Return the image files and their classes, one folder per class."""
    found = [(file, folder.name) for folder in _folders(root) for file in _image_files(folder)]
    if not found:
        expected = "a subfolder with images for each class, or subfolders images and labels"
        raise DataError(f"{root}: expected {expected}, found no images ({', '.join(_SUFFIXES)})")
    return found


def _pairs(root: Path) -> list[tuple[Path, Any]]:
    """Return the image files and their masks, matched by file name without suffix."""
    images, masks = _subfolder(root, _IMAGES), _subfolder(root, _MASKS)
    if images is None or masks is None:
        raise DataError(f"{root}: expected a subfolder images beside {masks.name if masks else 'labels'}, found none")
    known = {file.stem: file for file in _image_files(masks)}
    found = []
    for file in _image_files(images):
        if file.stem not in known:
            raise DataError(f"{file}: expected a mask {masks.name}/{file.stem}.*, found none")
        found.append((file, known[file.stem]))
    if not found:
        raise DataError(f"{images}: expected images ({', '.join(_SUFFIXES)}), found none")
    return found
