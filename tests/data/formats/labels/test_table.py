"""Rows of a table find the files that they name, in whatever way they name them."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.formats.content import SourceArray
from menndl_dask.data.formats.labels.table import match_rows
from menndl_dask.errors import DataError

FILES = ["cells/2.tif", "cells/10.tif", "cells/007.ome.tif"]


def _table(**columns: list[str]) -> dict[str, SourceArray]:
    return {name: SourceArray(np.array(values)) for name, values in columns.items()}


@pytest.mark.parametrize(
    "values",
    [
        ["cells/10.tif", "cells/007.ome.tif", "cells/2.tif"],
        ["10.tif", "007.ome.tif", "2.tif"],
        ["10", "007", "2"],
        [r"C:\data\cells\10.tif", r"C:\data\cells\007.ome.tif", r"C:\data\cells\2.tif"],
        ["10.png", "007.png", "2.png"],
    ],
)
def test_files_are_named_by_path_name_or_stem(values: list[str]) -> None:
    match = match_rows(_table(Filename=values, label=["b", "c", "a"]), FILES)
    assert match.column == "Filename"
    assert match.files.tolist() == [0, 1, 2]
    assert match.rows.tolist() == [2, 0, 1]


def test_a_column_of_any_name_counts_if_all_its_values_are_files() -> None:
    table = _table(slide=["10.tif", "2.tif", "007.ome.tif"], grade=["1", "2", "3"])
    assert match_rows(table, FILES).column == "slide"


def test_without_such_a_column_rows_are_in_order_and_the_order_is_said() -> None:
    match = match_rows(_table(label=["x", "y", "z"]), FILES)
    assert match.rows.tolist() == [0, 1, 2]
    assert match.note == "rows are taken in the order of the files: cells/2.tif, cells/10.tif, cells/007.ome.tif"
    with pytest.raises(DataError, match="expected a row for each of 3 images, or a column that names their files"):
        match_rows(_table(label=["x", "y"]), FILES)


def test_images_without_a_row_are_left_out_and_told() -> None:
    match = match_rows(_table(file=["2.tif"], label=["x"]), FILES)
    assert match.files.tolist() == [0]
    assert match.note.endswith("left out: 2 images without a row (cells/10.tif, cells/007.ome.tif)")


def test_rows_that_name_no_file_or_one_twice_are_told() -> None:
    with pytest.raises(DataError, match="column file: expected names of files such as cells"):
        match_rows(_table(file=["2.tif", "3.tif"]), FILES)
    with pytest.raises(DataError, match="expected one row for each file, got several for cells"):
        match_rows(_table(file=["2.tif", "2"]), FILES)
    with pytest.raises(DataError, match="that name none or several: 1"):
        match_rows(_table(file=["1.png"]), ["a/1.png", "b/1.png"])


def test_files_are_found_by_their_numbers_if_a_column_numbers_them() -> None:
    files = ["img_0001.png", "img_0002.png", "img_0010.png"]
    match = match_rows(_table(id=["10", "2", "1"], label=["c", "b", "a"]), files)
    assert (match.column, match.rows.tolist()) == ("id", [2, 1, 0])
    assert match_rows(_table(id=["7", "8", "9"], label=["a", "b", "c"]), files).column is None
    assert match_rows(_table(grade=["10", "2", "1"]), files).column is None
