"""Label tables: ``.csv``. Runs on the driver."""

from __future__ import annotations

import csv
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
    """Open a table with one row per sample: one column of labels, or named columns (``label``, ``split``, …)."""
    with reading(path, "a table"), path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise DataError(f"{path}: expected a row for each sample, got none")
    named = any(name in rows[0] for name in LABELS)
    if not named and len(rows[0]) > 1:
        raise DataError(f"{path}: expected one column, or a first row with a column 'label', got {', '.join(rows[0])}")
    head, body = (rows[0], rows[1:]) if named else (["label"], rows)
    for number, row in enumerate(body, 1 + named):
        if len(row) != len(head):
            raise DataError(f"{path}: line {number}: expected {len(head)} values, got {len(row)}")
    yield Content({name: SourceArray(_column([row[place] for row in body])) for place, name in enumerate(head)})


def _column(values: list[str]) -> NDArray[Any]:
    """Return the values as integers, floats or strings, the first that fits all."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(values, dtype=kind)
        except ValueError:
            continue
    return np.array(values)
