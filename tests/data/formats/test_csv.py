"""Tables as pandas, spreadsheets and databases write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from menndl_dask.data.formats.csv import open_csv
from menndl_dask.errors import DataError


def test_columns_without_a_name_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",file,label,\n0,b.png,1,\n1,a.png,0,\n")
    with open_csv(tmp_path / "t.csv") as content:
        assert list(content.arrays) == ["file", "label"]
        assert content.notes == ("left out: 2 columns of t.csv without a name",)
    (tmp_path / "t.csv").write_text("file,label,label\nb.png,1,2\n")
    with pytest.raises(DataError, match="expected a different name for each column"), open_csv(tmp_path / "t.csv"):
        pass


@pytest.mark.parametrize("missing", ["", "NA", "nan", "None", "null", "N/A"])
def test_numbers_that_are_missing_are_nan_however_they_are_written(missing: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"file,label\na,1.5\nb,{missing}\nc,2\n")
    with open_csv(tmp_path / "t.csv") as content:
        np.testing.assert_array_equal(content.arrays["label"].array[:], [1.5, np.nan, 2.0])


def test_words_such_as_none_are_kept_but_not_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,label\na,None\nb,nan\nc,NA\n")
    with open_csv(tmp_path / "t.csv") as content:
        assert content.arrays["label"].array[:].tolist() == ["None", "", "NA"]
