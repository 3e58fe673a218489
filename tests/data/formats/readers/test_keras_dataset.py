"""Data sets of Keras by name: from its cache as Keras keeps it, and one line where there is no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.cli.cli import main
from menndl_dask.data.data import open_problem, splits
from menndl_dask.data.formats.conversion import convert
from menndl_dask.data.formats.readers.keras_dataset import KERAS_SETS
from menndl_dask.errors import DataError
from tests.keras_cache import write_fashion


def test_a_data_set_of_keras_is_converted_from_its_cache_with_its_own_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(write_fashion(tmp_path / "home")))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.py").write_text("raise RuntimeError('a file of the user, not Keras')")
    assert main(["convert", "keras:fashion_mnist", "fashion.zarr"]) == 0
    assert "20 test, 60 train" in capsys.readouterr().out
    data = xr.open_zarr("fashion.zarr", consolidated=False)
    assert data["image"].shape[:3] == (80, 28, 28)
    assert data["label"].attrs["classes"][9] == "ankle boot"
    assert data["image"][61].values.max() == 1 and int(data["label"][61]) == 1

    problem = open_problem("fashion.zarr", seed=1)
    assert problem.task == "classification"
    assert problem.facts.samples[2] == 20 and sum(problem.facts.samples) == 80
    parts = splits(problem)
    assert parts["test"].tolist() == list(range(60, 80))
    drawn = np.bincount(data["label"].values[parts["validation"]], minlength=10)
    assert drawn.min() >= 1 and drawn.max() <= 2  # of each class alike
    assert splits(open_problem("fashion.zarr", seed=2))["validation"].tolist() != parts["validation"].tolist()


def test_without_a_network_one_line_names_the_files_and_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DataError) as raised:
        convert("keras:fashion_mnist", tmp_path / "fashion.zarr")
    message = str(raised.value)
    assert message.startswith("keras:fashion_mnist: Keras cannot load it: no download: ")
    assert str(tmp_path / "home/datasets/fashion-mnist") in message
    assert all(name in message for name in KERAS_SETS["fashion_mnist"].files)
    assert "\n" not in message and len(message.replace(str(tmp_path), "/home/user")) <= 500
    assert not (tmp_path / "fashion.zarr").exists()


def test_an_unknown_name_and_a_search_without_conversion_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"keras:fashon_mnist: expected one of mnist, .*did you mean 'fashion_mnist'"):
        convert("keras:fashon_mnist", tmp_path / "fashion.zarr")
    with pytest.raises(DataError, match=r"convert it first: menndl convert keras:mnist mnist\.zarr"):
        open_problem("keras:mnist")
