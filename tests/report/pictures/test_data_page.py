"""The page of the data check: samples of each class, and samples that are worth a look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.cli.cli import main
from menndl_dask.data.check.check import check_data
from menndl_dask.data.data import open_problem
from menndl_dask.errors import UserError
from menndl_dask.report.pictures.data_page import data_page, write_data_page
from tests import stores

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>"


def _page(data: xr.Dataset, tmp_path: Path, **settings: Any) -> str:
    path = stores.write(data, tmp_path / "data.zarr")
    return data_page(check_data(open_problem(path, **settings), seconds=0.0))


def _suspicious(text: str) -> str:
    return text[text.index('id="suspicious"') : text.index('id="samples"')]


def test_each_class_is_shown_with_samples_of_the_training_split(tmp_path: Path) -> None:
    text = _page(stores.classification(90), tmp_path)
    for name in stores.CLASSES:
        assert text.count(f"<figcaption>{name}, sample ") == 5
    assert len(re.findall(r"<figcaption>\w+, sample \d+ \(train\)", text)) == 15
    assert "None: no equal images" in _suspicious(text)


def test_masks_are_shown_over_their_images(tmp_path: Path) -> None:
    text = _page(stores.segmentation(), tmp_path)
    shown = text[text.index('id="samples"') : text.index('id="data"')]
    assert shown.count("<svg") == 4  # two of each class
    assert "background has no colour" in shown
    assert "wrong" not in shown


def test_values_are_shown_over_their_range(tmp_path: Path) -> None:
    text = _page(stores.regression(), tmp_path)
    shown = [float(value) for value in re.findall(r"<figcaption>(-?[\d.]+), ", text)]
    assert len(shown) == 12
    assert shown == sorted(shown)


def test_equal_empty_and_unusual_images_are_shown(tmp_path: Path) -> None:
    data = stores.classification(90)
    data["image"][4] = data["image"][3]  # another class
    data["image"][20] = 0.5
    data["image"][21] = 50 + data["image"][21]
    data["image"][22] = np.nan
    text = _suspicious(_page(data, tmp_path))
    assert "Equal images with different labels" in text
    assert "sample 3 (" in text
    assert "sample 4 (" in text
    assert "all values are equal: sample 20 (" in text
    assert "very bright: sample 21 (" in text
    assert "without a value: sample 22 (" in text


def test_large_images_are_shown_in_part(tmp_path: Path) -> None:
    path = stores.write(stores.large_segmentation(3, 600), tmp_path / "data.zarr", side=200)
    text = data_page(check_data(open_problem(path, patch=(64, 64)), seconds=0.0))
    assert len(text) < 1_000_000
    assert "<svg" in text


def test_names_put_no_elements_into_the_page(tmp_path: Path) -> None:
    data = stores.classification()
    data.label.attrs["classes"] = [f"{EVIL}{n}" for n in range(3)]
    text = _page(data, tmp_path)
    assert "<img src=x" not in text
    assert text.count("<script>") == 1


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    path = stores.write(stores.classification(), tmp_path / "data.zarr")
    report = check_data(open_problem(path), seconds=0.0)
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        write_data_page(report, tmp_path / "missing" / "page.html")


def test_the_command_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stores.write(stores.classification(90), Path("data.zarr"))
    assert main(["check", "data.zarr", "--no-trial", "--html"]) == 0
    assert "page: data.html" in capsys.readouterr().out
    assert "Samples by label" in Path("data.html").read_text("utf-8")
