"""The size of a pixel in training and in new images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.prediction.images import ImageSource, find_axes
from menndl_dask.prediction.pixel_size import pixel_size_note
from menndl_dask.problem import Problem

TRAINED = {"spacing": [0.14, 0.14], "spacing_unit": "Å"}


def trained(path: Path, attributes: dict[str, Any]) -> Problem:
    """Return a problem on images with these attributes."""
    rng = np.random.default_rng(0)
    image = (("sample", "y", "x", "channel"), rng.random((12, 8, 8, 1), dtype="float32"), attributes)
    label = (("sample",), np.arange(12, dtype="uint8") % 2)
    xr.Dataset({"image": image, "label": label}).to_zarr(path, consolidated=False)
    return open_problem(path)


def new(path: Path, spacing: tuple[float, ...], unit: str) -> ImageSource:
    """Return new images in a store, with this size of a pixel."""
    attributes = {"spacing": list(spacing), "spacing_unit": unit} if unit else {}
    xr.Dataset({"image": (("y", "x"), np.zeros((8, 8)), attributes)}).to_zarr(path, mode="w", consolidated=False)
    return ImageSource(str(path), "image", ("y", "x"), (8, 8), find_axes(["y", "x"], (8, 8), 2, 1), spacing=spacing)


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ((0.14, 0.14), "Å", ""),
        ((0.017, 0.017), "nm", ""),  # 1.2 times as large
        ((0.014, 0.014), "nanometer", ""),
        ((0.28, 0.28), "\u212b", "note: a pixel of these images is 0.28 × 0.28 \u212b, that of the training images"),
        ((0.14, 0.14), "nm", "note: a pixel of these images is 0.14 × 0.14 nm, that of the training images 0.14"),
        ((0.14, 0.14), "furlong", "the units cannot be compared"),
        ((), "", "note: the size of a pixel of these images is not known, that of the training images 0.14 × 0.14 Å"),
    ],
)
def test_another_size_of_a_pixel_than_in_training_is_told(
    tmp_path: Path, spacing: tuple[float, ...], unit: str, expected: str
) -> None:
    note = pixel_size_note(trained(tmp_path / "trained.zarr", TRAINED), new(tmp_path / "new.zarr", spacing, unit))
    assert expected in note and bool(note) == bool(expected) and "\n" not in note


def test_images_without_a_known_size_of_a_pixel_in_training_are_not_compared(tmp_path: Path) -> None:
    assert pixel_size_note(trained(tmp_path / "t.zarr", {}), new(tmp_path / "new.zarr", (9.0, 9.0), "nm")) == ""
