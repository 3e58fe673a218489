"""Files that name other files: what leads out of the folder of the first one is not followed. Runs on the driver.

HDF5 files hold links, arrays in other files and virtual arrays; OME-TIFF and VRT files name the files of their images.
Such files belong together and lie together. A file that someone handed over must not read others of its user.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from menndl_dask.errors import DataError
from menndl_dask.validation import shown

_MOST_OBJECTS = 100_000  # of an HDF5 file
_VRT_NAMES = ("SourceFilename", "SourceDataset", "OverviewFile", "AuxiliaryFilename", "MaskDatasetName", "IndexDataset")
_VRT_CODE = ("PixelFunctionLanguage", "PixelFunctionCode", "Algorithm")


def check_hdf5(path: Path) -> None:
    """Raise `DataError` if an HDF5 file, or one that it links to, leads out of the folder of the file."""
    import h5py

    folder, seen = path.resolve().parent, set()
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file() or not h5py.is_hdf5(file):
            continue
        seen.add(file)
        with h5py.File(file, "r") as opened:
            waiting += [inside(path, folder, file.parent, name) for name in _linked(path, opened, h5py)]
            for name in _virtual(opened, h5py):
                _demand(path, inside(path, folder, file.parent, name))


def _linked(path: Path, file: Any, h5py: Any) -> Iterator[str]:
    """Yield the names of the other files that an HDF5 file reads."""
    visited: set[int] = set()
    stack = [file]
    while stack:
        group = stack.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield link.filename
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in visited:
                continue
            visited.add(place)
            if len(visited) > _MOST_OBJECTS:
                raise DataError(f"{path}: expected at most {_MOST_OBJECTS:,} groups and arrays in it")
            if isinstance(item, h5py.Group):
                stack.append(item)
            elif isinstance(item, h5py.Dataset):
                yield from (name for name, _, _ in item.external or ())
                yield from (source.file_name for source in (item.virtual_sources() if item.is_virtual else ()))


def _virtual(file: Any, h5py: Any) -> set[str]:
    """Return the names of the files that arrays of an HDF5 file are put together from."""
    found: set[str] = set()

    def add(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            found.update(source.file_name for source in item.virtual_sources() if "%" not in source.file_name)

    file.visititems(add)
    return found


def _demand(path: Path, part: Path) -> None:
    """Raise `DataError` if a file is missing of which libraries would read the pixels as 0."""
    if not part.exists():
        raise DataError(f"{path}: leads to {shown(part.name)}, which is not there: its pixels would be read as 0")


def inside(path: Path, folder: Path, place: Path, name: str) -> Path:
    """Return the file that a file names, beside it or in a folder there.

    Parameters
    ----------
    path, folder
        The first file, and its folder.
    place
        The folder that the name begins from.
    name
        As it stands in the file.

    Raises
    ------
    DataError
        If it is elsewhere, or a URL.
    """
    found = place if name in ("", ".") else (place / name).resolve()
    if "://" in name or name.startswith("/vsi") or not found.is_relative_to(folder):
        raise DataError(f"{path}: leads to {shown(name)}, which is not in its folder and is not read; put it there")
    return found


def check_ome(path: Path, text: str) -> None:
    """Raise `DataError` if an OME-TIFF names files outside of its folder, or other files that are not there.

    A file that was renamed still names itself as before.
    """
    root, folder = ET.fromstring(text), path.resolve().parent
    own = root.get("UUID")
    found = [(name, e.text) for e in root.iter() if e.tag.endswith("}UUID") and (name := e.get("FileName"))]
    parts = {name: inside(path, folder, folder, name) for name, _ in found}
    for name, number in found:
        if len(parts) > 1 and number != own:
            _demand(path, parts[name])


def check_vrt(path: Path) -> None:
    """Raise `DataError` if a VRT, or one that it names, leads out of its folder or holds code."""
    folder, seen, waiting = path.resolve().parent, set(), [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file in seen or not is_vrt(file):
            continue
        seen.add(file)
        for element in ET.fromstring(file.read_text(encoding="utf-8")).iter():
            if element.tag in _VRT_CODE:
                raise DataError(f"{path}: expected a list of images, got one with code ({element.tag})")
            if element.tag in _VRT_NAMES and (name := (element.text or "").strip()):
                waiting.append(inside(path, folder, file.parent, name))


def is_vrt(path: Path) -> bool:
    """Return whether a file is a VRT, whatever its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"<VRTDataset" in file.read(1024)
