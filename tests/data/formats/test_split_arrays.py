"""Arrays of a file that are a split each, as Keras, MedMNIST and groups of NetCDF have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.data.formats.conversion import write_converted
from menndl_dask.errors import DataError

RNG = np.random.default_rng(0)
NUMBERS = {"train": 12, "val": 4, "test": 6}
SPLITS = ["train"] * 12 + ["validation"] * 4 + ["test"] * 6


def _parts(names: str, splits: tuple[str, ...] = ("train", "val", "test")) -> dict[str, Any]:
    image, label = names.split()
    found = {}
    for split in splits:
        found[image.replace("*", split)] = RNG.integers(0, 200, (NUMBERS[split], 8, 8)).astype("uint8")
        found[label.replace("*", split)] = np.arange(NUMBERS[split])[:, None] % 2
    return found


@pytest.mark.parametrize("names", ["x_* y_*", "*_images *_labels", "X-* Y-*", "*/image */label"])
def test_arrays_of_the_splits_are_one_after_another_and_keep_their_split(names: str, tmp_path: Path) -> None:
    parts = _parts(names)
    np.savez(tmp_path / "a.npz", **parts)
    done = write_converted(tmp_path / "a.npz", tmp_path / "a.zarr")
    data = xr.open_zarr(done.path, chunks=None, consolidated=False)
    assert data.split.values.tolist() == SPLITS
    image = names.split(maxsplit=1)[0]
    np.testing.assert_array_equal(data.image.values[12:16], parts[image.replace("*", "val")])
    assert data.label.values[:2].tolist() == [0, 1]
    assert any("splits are those of the names" in line or "are those of the names" in line for line in done.lines)
    assert open_problem(done.path).facts.samples == (12, 4, 6)


def test_groups_of_a_netcdf_file_are_splits(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    for split in ("train", "test"):
        image, label = _parts("image label", (split,)).values()
        data = xr.Dataset({"image": (("n", "y", "x"), image), "label": (("n",), label[:, 0])})
        data.to_netcdf(path, mode="w" if split == "train" else "a", group=split, engine="h5netcdf")
    done = write_converted(path, tmp_path / "a.zarr")
    split = xr.open_zarr(done.path, chunks=None, consolidated=False).split.values.tolist()
    assert split == ["train"] * 12 + ["test"] * 6


def test_a_volume_for_each_split_stays_a_volume_of_its_own_size(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    for number, split in enumerate(("train", "test")):
        image = RNG.random((8, 16 + number, 16))
        data = xr.Dataset({"image": (("z", "y", "x"), image), "mask": (("z", "y", "x"), (image > 0.5).astype("u1"))})
        data.to_netcdf(path, mode="w" if split == "train" else "a", group=split, engine="h5netcdf")
    done = write_converted(path, tmp_path / "a.zarr")
    assert "2 samples of 8 z x 16 y x 16 x to 8 z x 17 y x 16 x" in str(done)


def test_splits_of_unequal_size_are_refused_and_other_names_are_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((3, 4, 4)), x_test=np.zeros((3, 5, 4)))
    with pytest.raises(DataError, match=r"expected arrays of one size in all splits, got x_train \(3, 4, 4\), x_test"):
        write_converted(tmp_path / "a.npz", tmp_path / "a.zarr")
    np.savez(tmp_path / "b.npz", image=np.zeros((6, 4, 4)), label=np.arange(6) % 2, age_train=np.zeros(6))
    assert "a class for each image" in str(write_converted(tmp_path / "b.npz", tmp_path / "b.zarr"))
