"""Arrays of a file that are a split each, such as ``x_train`` and ``x_test``, as one array. Runs on the driver."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from menndl_dask.data.axes import SPATIAL, format_dims
from menndl_dask.data.formats.content import IMAGES, SPLIT_NAMES, Content, Pieces, SourceArray
from menndl_dask.data.formats.folders.file_collection import Joined
from menndl_dask.errors import DataError

_WORDS = "|".join(sorted(SPLIT_NAMES, key=len, reverse=True))
_NAMED = re.compile(rf"(?i)^(?P<first>{_WORDS})[_\-./ ](?P<rest>.+)$|^(?P<name>.+)[_\-./ ](?P<last>{_WORDS})$")
_USUAL = {name.lower() for name in IMAGES}


def join_splits(content: Content) -> Content:
    """Return a source whose images lie in an array for each split, training among them, with one array and a split.

    Another source is returned as it is.

    Raises
    ------
    DataError
        If the images of the splits differ in size.
    """
    found: dict[str, dict[str, str]] = {}
    for array in content.arrays:
        part = split_of_array(array)
        if part is not None:
            found.setdefault(part[1], {}).setdefault(part[0], array)
    image = next((rest for rest in found if rest.rpartition("/")[2].lower() in _USUAL), None)
    if image is None or content.images or "train" not in found[image] or len(found[image]) == 1:
        return content
    splits = [name for name in dict.fromkeys(SPLIT_NAMES.values()) if name in found[image]]
    shared = {rest: [names[s] for s in splits] for rest, names in found.items() if set(splits) == set(names)}
    if {"split", *shared} & set(content.arrays):
        return content
    taken = {name for names in shared.values() for name in names}
    arrays = {name: source for name, source in content.arrays.items() if name not in taken}
    arrays |= {rest: _joined(rest, names, content.arrays) for rest, names in shared.items()}
    numbers = [1 if _is_one(content.arrays[name]) else content.arrays[name].shape[0] for name in shared[image]]
    arrays["split"] = SourceArray(np.repeat(np.array(splits), numbers))
    note = f"splits are those of the names {', '.join(shared[image])}"
    return replace(content, arrays=arrays, notes=(*content.notes, note))


def split_of_array(name: str) -> tuple[str, str] | None:
    """Return the split that an array's name says, and the rest of the name; None if it says none.

    >>> split_of_array("x_train"), split_of_array("val/image"), split_of_array("latest")
    (('train', 'x'), ('validation', 'image'), None)
    """
    match = _NAMED.match(name)
    if match is None:
        return None
    split, rest = (match["first"], match["rest"]) if match["first"] else (match["last"], match["name"])
    return SPLIT_NAMES[split.lower()], rest


def _is_one(source: SourceArray) -> bool:
    """Whether an array is one image: its first axis is called as a spatial one."""
    return bool(source.dims) and source.dims[0].lower() in SPATIAL


def _joined(name: str, parts: Sequence[str], arrays: Mapping[str, SourceArray]) -> SourceArray:
    sources = [arrays[part] for part in parts]
    first = sources[0]
    stored = [source.array if source.stored is None else source.stored for source in sources]
    is_decoded = any(source.stored is not None for source in sources)
    if _is_one(first):
        pieces = Pieces(stored) if is_decoded else None
        return SourceArray(
            Pieces([s.array for s in sources]), ("sample", *first.dims), first.attributes, pieces, first.spacing
        )
    if len({source.shape[1:] for source in sources}) > 1 or not first.shape:
        got = ", ".join(f"{part} {format_dims(list(map(str, arrays[part].shape)))}" for part in parts)
        raise DataError(f"{name}: expected arrays of one size in all splits, got {got}; convert each by itself")
    joined = Joined(stored) if is_decoded else None
    return SourceArray(Joined([s.array for s in sources]), first.dims, first.attributes, joined, first.spacing)
