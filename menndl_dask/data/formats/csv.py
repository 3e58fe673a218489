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
    if len(set(head)) < len(head):
        raise DataError(f"{path}: expected a different name for each column, got {', '.join(head)}")
    for number, row in enumerate(body, 1 + named):
        if len(row) != len(head):
            raise DataError(f"{path}: line {number}: expected {len(head)} values, got {len(row)}")
    columns = {name: np.array([row[place].strip() for row in body]) for place, name in enumerate(head)}
    notes = []
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
    """Return the values of a column as integers, floats or text, the first that fits all; empty numbers are NaN.

    >>> column(np.array(["1", "2.5"])), column(np.array(["1", ""])), column(np.array(["1", "a"])).dtype.kind
    (array([1. , 2.5]), array([ 1., nan]), 'U')
    """
    empty = values == ""
    for kind in (np.int64, np.float64):
        try:
            numbers = values[~empty].astype(kind)
        except ValueError:
            continue
        if not empty.any() or not len(numbers):
            return numbers if len(numbers) else values
        filled = np.full(len(values), np.nan)
        filled[~empty] = numbers
        return filled
    return values
