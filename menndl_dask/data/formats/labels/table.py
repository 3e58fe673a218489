"""Rows of a label table, matched to the files of a folder by the column that names them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import LABELS, SourceArray
from menndl_dask.errors import DataError
from menndl_dask.text import counted

FILES = (
    "file", "files", "filename", "file_name", "filenames", "filepath", "file_path", "path", "image", "images",
    "image_file", "image_name", "image_id", "imageid", "image_path", "img", "picture", "photo",
)  # fmt: skip
"""Names of a column that names the files, without regard to case."""

_NUMBERS = ("id", "name", "number", "index", "nr")  # names of columns that may number the files
_SHOWN = 3
_ENDING = re.compile(r"(\.ome|\.nii)?\.[A-Za-z]\w{0,4}$")


@dataclass(frozen=True, slots=True)
class Match:
    """Which files have a row, and which: equally long lists of positions."""

    files: NDArray[np.int64]
    rows: NDArray[np.int64]
    note: str
    column: str | None = None  # that names the files


def texts(source: SourceArray) -> list[str]:
    """Return the values of a column as they are written."""
    return [str(value) for value in np.asarray(source.attributes.get("text", source.array)).tolist()]


def match_rows(table: Mapping[str, SourceArray], files: Sequence[str]) -> Match:
    """Match the rows of a table to files by the column that names them, else in order.

    `files` are paths within the folder in its order. Values are matched as paths, names or names without ending.

    Raises
    ------
    DataError
        If a row names a file that is not there, two rows name one file, or there is no such column and the numbers of
        rows and files differ.
    """
    number = len(texts(next(iter(table.values()))))
    column, places = find_files(table, files)
    if column is None:
        if number != len(files):
            raise DataError(
                f"expected a row for each of {counted(len(files), 'image')}, or a column that names their files, "
                f"got {counted(number, 'row')} with {', '.join(table)}"
            )
        shown = ", ".join(files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")
        order = np.arange(number)
        return Match(order, order, f"rows are taken in the order of the files: {shown}")
    rows = {place: row for row, place in enumerate(places)}
    if len(rows) < len(places):
        twice = next(place for row, place in enumerate(places) if rows[place] != row)
        raise DataError(f"column {column}: expected one row for each file, got several for {files[twice]}")
    found = np.array(sorted(rows), dtype=np.int64)
    note = f"rows are matched to files by the column {column}"
    without = [name for place, name in enumerate(files) if place not in rows]
    if without:
        note += f"; left out: {counted(len(without), 'image')} without a row ({_listed(without)})"
    return Match(found, np.array([rows[place] for place in found.tolist()], dtype=np.int64), note, column)


def find_files(table: Mapping[str, SourceArray], files: Sequence[str]) -> tuple[str | None, list[int]]:
    """Return the name of the column that names files, and the file of each row; None if there is no such column.

    Raises
    ------
    DataError
        If a value of the column names no file, or several.
    """
    index = _index(files)
    values = {name: texts(source) for name, source in table.items()}
    places = {name: [_place(value, index) for value in column] for name, column in values.items()}
    fits = {name: sum(place is not None for place in column) for name, column in places.items()}
    called = [name for name in table if name.lower() in FILES]
    if called:
        column = max(called, key=lambda name: fits[name])
    else:
        usual = {name.lower() for name in LABELS}
        whole = [name for name in table if fits[name] == len(values[name]) and name.lower() not in usual]
        words = [name for name in whole if not all(value.isdigit() for value in values[name])]
        column = next(iter(words or [name for name in whole if name.lower() in _NUMBERS]), "")
    if not column or not fits[column]:
        by_number = _by_number(values, files)
        if by_number[0] is not None:
            return by_number
    if not column:
        return None, []
    unknown = [value for value, place in zip(values[column], places[column], strict=True) if place is None]
    if unknown:
        count = counted(len(unknown), "row")
        raise DataError(
            f"column {column}: expected names of files such as {_listed(files[:1])}, "
            f"got {count} of {len(values[column]):,} that name none or several: {_listed(unknown)}"
        )
    return column, [place for place in places[column] if place is not None]


def _by_number(values: Mapping[str, Sequence[str]], files: Sequence[str]) -> tuple[str | None, list[int]]:
    """Return the column whose numbers are those in the names of the files, such as 7 of ``img_0007.png``."""
    found = [re.findall(r"\d+", _ENDING.sub("", file.replace("\\", "/").rpartition("/")[2])) for file in files]
    numbers = {int(each[-1]): place for place, each in enumerate(found) if each}
    if len(numbers) == len(files):
        for name, column in values.items():
            known = name.lower() in (*_NUMBERS, *FILES) and all(value.isdecimal() for value in column)
            if known and {int(value) for value in column} <= set(numbers):
                return name, [numbers[int(value)] for value in column]
    return None, []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _index(files: Sequence[str]) -> dict[str, int | None]:
    """Return the position of each file by its path, the ends of its path, and these without ending; None if unclear."""
    found: dict[str, int | None] = {}
    for place, file in enumerate(files):
        for name in dict.fromkeys(_names(file)):
            found[name] = place if name not in found else None
    return found | {file: place for place, file in enumerate(files)}  # the whole path wins


def _names(file: str) -> Iterable[str]:
    """Yield the ends of a path, each with and without the ending of its name.

    >>> list(_names("a/b.ome.tif")), list(_names("1.5um"))
    (['a/b.ome.tif', 'a/b', 'b.ome.tif', 'b'], ['1.5um'])
    """
    parts = file.replace("\\", "/").removeprefix("./").split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        yield tail
        if _ENDING.search(tail):
            yield _ENDING.sub("", tail)


def _place(value: str, index: Mapping[str, int | None]) -> int | None:
    """Return the file that a value names; also by the ends of its path, with or without its ending."""
    for name in _names(value.strip()):
        if index.get(name) is not None:
            return index[name]
    return None


def chosen_rows(source: SourceArray, rows: NDArray[np.int64]) -> SourceArray:
    """Return a column with some of its rows."""
    values: Any = np.asarray(source.array)[rows]
    text = source.attributes.get("text")
    attributes = {} if text is None else {"text": np.asarray(text)[rows]}
    return SourceArray(values, source.dims, attributes)
