"""Images of other formats, predicted as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

from menndl_dask.errors import UserError
from menndl_dask.prediction.conversion import as_store

IMAGES = np.random.default_rng(0).integers(0, 200, (4, 12, 15)).astype("uint16")

TARGET = Path("out.zarr")


def test_a_zarr_store_is_read_as_it_is(tmp_path: Path) -> None:
    xr.Dataset({"scan": (("sample", "y", "x"), IMAGES)}).to_zarr(tmp_path / "new.zarr", consolidated=False)
    zarr.create_array(tmp_path / "bare.zarr", data=IMAGES)
    for source in (str(tmp_path / "new.zarr"), str(tmp_path / "bare.zarr"), "s3://bucket/new.zarr"):
        with as_store(source, tmp_path / "out.zarr", ["scan"], pytest.fail) as found:
            assert found == (source, ["scan"])


def test_files_without_labels_are_converted_for_as_long_as_they_are_predicted(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", image=IMAGES)
    tifffile.imwrite(tmp_path / "new.tif", IMAGES, photometric="minisblack")
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(IMAGES):
        tifffile.imwrite(tmp_path / "folder" / f"{number}.tif", image[: 12 - number], photometric="minisblack")
    for name in ("new.npz", "new.tif", "folder"):
        said: list[str] = []
        with as_store(str(tmp_path / name), tmp_path / "out.zarr", ["anything"], said.append) as (store, variables):
            assert Path(store).parent == tmp_path and variables == ("image",)
            stored = zarr.open_group(store, mode="r")
            first = stored["samples/00002/image"] if name == "folder" else stored["image"]
            assert np.array_equal(np.squeeze(first[...]), IMAGES[2, :10] if name == "folder" else IMAGES)
        assert said[0] == f"images of {tmp_path / name}:" and any("images" in line for line in said[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "new.npz", "new.tif"]


def test_what_cannot_be_converted_is_told_with_the_command_that_takes_options(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", first=IMAGES, second=IMAGES)
    message = r"new\.npz: .* menndl convert \S*new\.npz IMAGES\.zarr, then predict IMAGES\.zarr"
    for names in (["image"], ["image", "other"]):
        with pytest.raises(UserError, match=message), as_store(str(tmp_path / "new.npz"), TARGET, names, print):
            pass
    message = r"expected images, found no such file or folder; did you mean 'new\.npz'"
    with pytest.raises(UserError, match=message), as_store(str(tmp_path / "nev.npz"), TARGET, ["image"], print):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["new.npz"]
