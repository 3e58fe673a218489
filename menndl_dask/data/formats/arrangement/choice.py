"""Which arrays of a source are images, which are labels, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from menndl_dask.data.axes import SPATIAL, format_dims
from menndl_dask.data.formats.content import CLASSES, IMAGES, LABELS, Content, SourceArray
from menndl_dask.data.formats.labels.mask import MOST_CLASSES, value_counts
from menndl_dask.data.formats.samples import samples_of
from menndl_dask.errors import DataError, nearest

_SCALES = ("scale", "offset", "scale_factor", "add_offset")
_GROUPS = ("file", "split", "folder", "name", "id", "scene", "patient", "group", "groups")


@dataclass(frozen=True, slots=True)
class Choice:
    """Names of the arrays with images and with labels, and in words why, where that is not plain."""

    images: tuple[str, ...]
    label: str | None
    notes: tuple[str, ...] = ()


def is_coordinate(name: str, source: SourceArray, arrays: Mapping[str, SourceArray]) -> bool:
    """Whether an array is the positions along a dimension: it has one, called as the array, or another array has it."""
    short = name.rpartition("/")[2]
    if len(source.shape) != 1:
        return False
    if source.dims == (short,):
        return True
    others = (other for key, other in arrays.items() if key != name and len(other.shape) > 1)
    return short.lower() in SPATIAL and any(short in other.dims for other in others)


def choose(content: Content, images: Sequence[str], label: str | None, elsewhere: bool = False) -> Choice:
    """Choose the arrays: those named, those that the format knows, or those with usual names.

    Parameters
    ----------
    content
        The source.
    images, label
        Names that the user gives.
    elsewhere
        Whether the labels are not of this source.

    Raises
    ------
    DataError
        If an array is not there, or several may be meant.
    """
    arrays = {name: s for name, s in content.arrays.items() if not is_coordinate(name, s, content.arrays)}
    for name in (*images, *([label] if label else [])):
        if name not in content.arrays:
            raise DataError(f"expected an array {name!r}, found {found_arrays(content.arrays)}"
                            f"{nearest(name, content.arrays)}")  # fmt: skip
    notes: list[str] = []
    chosen = tuple(images) or content.images or _usual_image(arrays, label, notes)
    if label is not None or elsewhere:
        return Choice(chosen, label, tuple(notes))
    if content.label is not None:
        return Choice(chosen, content.label, tuple(notes))
    return Choice(chosen, _usual_label(arrays, chosen, notes), tuple(notes))


def found_arrays(arrays: Mapping[str, SourceArray]) -> str:
    """Return the names and shapes of arrays as text."""
    return ", ".join(f"{n} {format_dims(list(map(str, s.shape)))}" for n, s in arrays.items()) or "none"


def called(arrays: Iterable[str], usual: Sequence[str]) -> list[str]:
    """Return the arrays with usual names, without regard to case and to the group in which they lie; usual order."""
    known = list(dict.fromkeys(name.lower() for name in usual))
    short = {name: name.rpartition("/")[2].lower() for name in arrays}
    return sorted((name for name, last in short.items() if last in known), key=lambda name: known.index(short[name]))


def _usual_image(arrays: Mapping[str, SourceArray], label: str | None, notes: list[str]) -> tuple[str, ...]:
    usual = [name for name in called(arrays, IMAGES) if name != label]
    large = [name for name in usual if len(arrays[name].shape) > 1] or usual
    same = [n for n in large if n.rpartition("/")[2].lower() == large[0].rpartition("/")[2].lower()]
    if len(same) == 1:
        return (large[0],)
    if not large:
        others = [n for n, s in arrays.items() if len(s.shape) > 1 and _is_number(s) and n != label]
        others = [n for n in others if n not in (*called(others, LABELS), *_bounds(arrays)) and not _is_flag(arrays[n])]
        if len(others) == 1:
            notes.append(f"images: {others[0]} is the only array that can hold them")
            return (others[0],)
    what = f"an array with the images ({', '.join(IMAGES)})" if not large else "one array with the images"
    raise DataError(f"expected {what}, found {found_arrays(arrays)}; name it with --images")


def _bounds(arrays: Mapping[str, SourceArray]) -> list[str]:
    """Return the arrays with the edges of cells; see https://cfconventions.org, section 7.1."""
    return [n for n, s in arrays.items() if s.dims[-1:] in (("bnds",), ("bounds",), ("nv",)) and s.shape[-1] in (2, 4)]


def _is_flag(source: SourceArray) -> bool:
    """Whether an array holds numbers of classes, as the conventions of NetCDF say it."""
    return "flag_meanings" in source.attributes or "flag_values" in source.attributes


def _is_number(source: SourceArray) -> bool:
    return np.dtype(source.array.dtype).kind in "iufb"


def _usual_label(arrays: Mapping[str, SourceArray], images: Sequence[str], notes: list[str]) -> str | None:
    usual = [name for name in called(arrays, LABELS) if name not in images]
    if {"x", "y"} <= {name.lower() for name in arrays} and len(usual) > 1:  # columns of positions
        usual = [name for name in usual if name.lower() != "y"]
    if len(usual) == 1:
        return usual[0]
    if not usual:
        usual = [n for n, s in arrays.items() if n not in images and _is_flag(s) and len(s.shape)]
        if len(usual) == 1:
            notes.append(f"labels: {usual[0]} is the only array with flags")
            return usual[0]
    if not usual:
        usual = [name for name, source in arrays.items() if name not in images and _fits(source, arrays[images[0]])]
        if len(usual) == 1:
            notes.append(f"labels: {usual[0]} is the only array with a whole number for each pixel")
            return usual[0]
    if not usual:
        return None
    numbers = {name: _values(arrays[name]) for name in usual}
    classes = [name for name, count in numbers.items() if count is not None and count <= MOST_CLASSES]
    if len(classes) == 1:
        others = [f"{name} has {numbers[name] or 'more'} values" for name in usual if name != classes[0]]
        notes.append(f"labels: {classes[0]}, as {' and '.join(others)}: objects or values, no classes")
        return classes[0]
    raise DataError(f"expected one array with the labels, found {found_arrays({n: arrays[n] for n in usual})}; "
                    "name it with --label")  # fmt: skip


def _fits(source: SourceArray, image: SourceArray) -> bool:
    """Whether an array has a whole number for each pixel of an image, with or without channels."""
    shape, pixels = source.shape, image.shape
    kind = np.dtype(source.array.dtype).kind
    without = [pixels[:axis] + pixels[axis + 1 :] for axis in range(len(pixels))] if len(pixels) > 2 else []
    return kind in "iub" and len(shape) > 1 and (shape == pixels or shape in without)


def _values(source: SourceArray) -> int | None:
    """Return how many different values an array has; None if they are no whole numbers or too many."""
    array = source.array if source.stored is None else source.stored
    if np.dtype(array.dtype).kind in "OSUT":
        return len(set(np.asarray(array[:]).tolist()))
    try:
        return len(value_counts(samples_of(array, 0)))
    except DataError:
        return None


def class_array(arrays: Mapping[str, SourceArray]) -> str | None:
    """Return the name of the array with the names of the classes."""
    return next((name for name in called(arrays, CLASSES) if len(arrays[name].shape) == 1), None)
