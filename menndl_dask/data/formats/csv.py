"""Tables with a row for each sample or position: ``.csv``, ``.tsv``. Runs on the driver."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.content import LABELS, Content, SourceArray
from menndl_dask.data.formats.library import reading
from menndl_dask.errors import DataError
from menndl_dask.text import counted

_NO_WORDS = ("nan", "<na>", "nat", "null")  # how pandas and databases write that there is no value
_MISSING = ("", "na", "n/a", "none", *_NO_WORDS)  # among numbers


@contextmanager
def open_csv(path: Path) -> Iterator[Content]:
    """Open a table: one column of labels, or columns that the first row names; commas, semicolons or tabs.

    The attribute ``text`` of a column holds its values as they are written, such as ``007``.
    """
    with reading(path, "a table"):
        raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + raw[: error.start].count(b"\n")
        got = f"the byte {raw[error.start]:#04x} in line {line}"
        raise DataError(f"{path}: expected a table in UTF-8, got {got}; save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    if not rows:
        raise DataError(f"{path}: expected a row for each sample, got none")
    named = _has_names(rows)
    if not named and len(rows[0]) > 1:
        raise DataError(f"{path}: expected one column, or a first row with a column 'label', got {', '.join(rows[0])}")
    head, body = ([name.strip() for name in rows[0]], rows[1:]) if named else (["label"], rows)
    nameless = head.count("") if len(head) > 1 else 0
    if len(set(head) - {""}) < len(head) - nameless:
        raise DataError(f"{path}: expected a different name for each column, got {', '.join(head)}")
    for number, row in enumerate(body, 1 + named):
        if len(row) != len(head):
            raise DataError(f"{path}: line {number}: expected {len(head)} values, got {len(row)}")
    columns = {n: np.array([row[place].strip() for row in body]) for place, n in enumerate(head) if n or not nameless}
    notes = [f"left out: {counted(nameless, 'column')} of {path.name} without a name"] if nameless else []
    for name, values in columns.items() if delimiter != "," else ():
        if (points := _points(values)) is not None:
            columns[name] = points
            notes.append(f"changed: the decimal commas in column {name} became points")
    arrays = {name: SourceArray(column(text), attributes={"text": text}) for name, text in columns.items()}
    yield Content(arrays, notes=tuple(notes))


def _points(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return numbers with decimal points in place of commas; None if they are no such numbers.

    >>> _points(np.array(["0,5", "12"])), _points(np.array(["1", "2"])), _points(np.array(["a,b"]))
    (array(['0.5', '12'], dtype='<U3'), None, None)
    """
    known = [value for value in values.tolist() if value]
    numbers = all(re.fullmatch(r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?", value) for value in known)
    return np.char.replace(values, ",", ".") if numbers and any("," in value for value in known) else None


def _has_names(rows: list[list[str]]) -> bool:
    """Whether the first row holds names: a usual one, or several words, or a word above numbers."""
    first = rows[0]
    if any(name.strip() in LABELS for name in first):
        return True
    words = not any(_is_number(name) for name in first)
    return words and len(rows) > 1 and (len(first) > 1 or all(_is_number(row[0]) for row in rows[1:]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def column(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a column as integers, floats or text, the first that fits all.

    Missing numbers are NaN, and missing words empty.

    >>> column(np.array(["1", "2.5"])), column(np.array(["1", "NA"])), column(np.array(["none", "nan"])).tolist()
    (array([1. , 2.5]), array([ 1., nan]), ['none', ''])
    """
    empty = np.isin(np.char.lower(values), _MISSING)
    if (values == "").all():
        return values
    for kind in (np.int64, np.float64):
        try:
            numbers = values[~empty].astype(kind)
        except ValueError:
            continue
        if not len(numbers):
            break
        if not empty.any():
            return numbers
        filled = np.full(len(values), np.nan)
        filled[~empty] = numbers
        return filled
    return np.where(np.isin(np.char.lower(values), _NO_WORDS), "", values)
