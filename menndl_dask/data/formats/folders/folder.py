"""Folders of images: classes, masks of the same name, or images alone. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.formats.content import Content, SourceArray, numbered
from menndl_dask.data.formats.folders.file_collection import is_collection, open_collection
from menndl_dask.data.formats.folders.folder_listing import FolderImage, list_folder, match_masks, natural
from menndl_dask.data.formats.folders.image_file import OpenFile, image_arrays
from menndl_dask.text import counted


@contextmanager
def open_folder(path: Path, labelled: bool = False) -> Iterator[Content]:
    """Open a folder of images, in the natural order of its names; each file is one image, of any size.

    Subfolders ``images`` and ``labels`` (or ``masks``) hold images and their masks under equal names; masks may also
    lie beside the images as ``name_mask``. Any other subfolders are classes, whatever lies below them. All may be
    inside of subfolders ``train``, ``validation`` (or ``val``) and ``test``. Files that hold several arrays, such as
    ``.npz``, are images with their labels. A folder without any of these holds images without labels.

    Parameters
    ----------
    path
        The folder.
    labelled
        Whether the labels come from elsewhere: then folders say nothing of classes.
    """
    listing = list_folder(path, labelled)
    opened = OpenFile()
    try:
        entries = listing.entries
        if is_collection([entry.file for entry in entries], opened) and not _labelled(entries):
            yield open_collection(path, entries, opened, listing.notes)
        else:
            yield _content(path, entries, listing.notes, listing.found, opened)
    finally:
        opened.close()


def _labelled(entries: Sequence[FolderImage]) -> bool:
    return any(entry.mask is not None or entry.kind is not None for entry in entries)


def _content(path: Path, entries: Sequence[FolderImage], notes: Sequence[str], found: int, opened: OpenFile) -> Content:
    masked = entries[0].mask is not None
    image, said = image_arrays([entry.file for entry in entries], False, opened)
    lines = [*notes, *said]
    arrays = {"image": image}
    classes: tuple[str, ...] = ()
    if masked:
        arrays["label"], said = image_arrays([e.mask for e in entries if e.mask is not None], True, opened)
        lines += said
    elif entries[0].kind is not None:
        kinds = [entry.kind for entry in entries]
        ordered = sorted({kind for kind in kinds if kind is not None}, key=natural)
        numbers, classes = numbered(kinds, ordered)
        arrays["label"] = SourceArray(numbers)
    arrays |= columns_of(path, entries)
    what = "images and masks" if masked else "images"
    taken = len(entries) * (1 + masked)
    lines.insert(0, f"taken: {taken:,} of {counted(max(found, taken), 'file')} that are {what}")
    return Content(arrays, classes, ("image",), "label" if "label" in arrays else None, notes=tuple(lines))


def columns_of(path: Path, entries: Sequence[FolderImage]) -> dict[str, SourceArray]:
    """Return the file of each image, its split, and the folder below the class if there are several."""
    found: dict[str, Any] = {"file": [entry.file.relative_to(path).as_posix() for entry in entries]}
    if any(entry.split for entry in entries):
        found["split"] = [entry.split for entry in entries]
    folders = [entry.file.parent.relative_to(path).as_posix() for entry in entries]
    tops = {(entry.split, entry.kind) for entry in entries}
    if len(set(folders)) > len(tops):
        found["folder"] = folders
    return {name: SourceArray(np.array(values)) for name, values in found.items()}


def mask_files(folder: Path, files: Sequence[str]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the mask of each image from another folder, by equal names, and what was left out.

    Raises
    ------
    DataError
        If an image has no mask, or several.
    """
    masks = [entry.file for entry in list_folder(folder, labelled=True).entries]
    listing = match_masks(folder, [Path(file) for file in files], masks)
    return [entry.mask for entry in listing.entries if entry.mask is not None], listing.notes
