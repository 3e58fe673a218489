"""Images and labels in memory, as `open_problem` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.errors import UserError

X = np.random.default_rng(0).normal(size=(60, 8, 6)).astype("float32")
Y = np.arange(60) % 3
NAMES = ["cat", "dog", "mouse"] * 20
SPLIT = ["train"] * 40 + ["validation"] * 12 + ["test"] * 8
DATASET = xr.Dataset({"image": (("sample", "y", "x"), X), "kind": ("sample", Y)})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("images", "labels", "task", "shape"),
    [
        (X, Y, "classification", (8, 6, 1)),
        (np.stack([X] * 3, axis=-1), NAMES, "classification", (8, 6, 3)),
        (X, X > 1, "segmentation", (8, 6, 1)),
        (X, X.mean((1, 2)), "regression", (8, 6, 1)),
        (DATASET, "kind", "classification", (8, 6, 1)),
        (DATASET.chunk(sample=10), "kind", "classification", (8, 6, 1)),
        ([each[: 5 + n % 2] for n, each in enumerate(X)], Y, "classification", (6, 6, 1)),
        (xr.DataArray(X[:, None], dims=("sample", "channel", "y", "x")), Y, "classification", (8, 6, 1)),
    ],
)
def test_arrays_xarray_objects_and_lists_become_a_problem(
    images: Any, labels: Any, task: str, shape: tuple[int, ...]
) -> None:
    problem = open_problem(images, labels)
    assert (problem.task, problem.facts.input_shapes) == (task, (shape,))
    assert open_problem(images, labels) == problem  # its store is used again


def test_coordinates_such_as_the_split_are_kept() -> None:
    images = xr.DataArray(X, dims=("sample", "y", "x"), coords={"split": ("sample", SPLIT)})
    assert open_problem(images, Y).facts.samples == (40, 12, 8)


def test_other_images_get_another_store_unless_one_is_named(folder: Path) -> None:
    assert open_problem(X, Y).data != open_problem(X + 1, Y).data
    assert open_problem(X, Y, store="mine.zarr").data == str(folder / "mine.zarr")
    assert open_problem(X, Y, store="mine.zarr").data == str(folder / "mine.zarr")
    with pytest.raises(UserError, match="a store of the same images, found another one"):
        open_problem(X + 1, Y, store="mine.zarr")


@pytest.mark.parametrize(
    ("images", "labels", "line"),
    [
        (X, Y[:50], "label: expected 60 samples as in image, got 50"),
        (X, None, "labels: expected an array beside the images, got None"),
        (None, Y, "data: expected the path or URL of a Zarr store, or images in memory, got None"),
        (3, Y, "images: expected an array, an xarray object or a list of images, got int"),
        (np.array([None] * 60), Y, "images: expected numbers or names, got ndarray of shape (60,) of type object"),
        ([X[0], X[1, 0]], Y, "images: expected images with as many axes each, got shapes (6,) and (8, 6)"),
        (DATASET, Y, "labels: expected the name of a variable of the Dataset, got ndarray of shape (60,)"),
        ("data.zarr", Y, "labels: expected None beside a path, whose store has them"),
    ],
)
def test_what_is_no_data_is_one_line(images: Any, labels: Any, line: str) -> None:
    with pytest.raises(UserError) as caught:
        open_problem(images, labels)
    assert line in str(caught.value)
