"""Masks on another grid than their images are refused: on Earth, in a scanner, along coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import rasterio
import xarray as xr

from menndl_dask.data.formats.arrangement.placement import pixels_apart
from menndl_dask.data.formats.content import Grid
from menndl_dask.data.formats.conversion import convert
from menndl_dask.errors import DataError

RNG = np.random.default_rng(0)
CELLS = (RNG.random((12, 20, 24)) < 0.3).astype("uint8")
AFFINE = np.diag([0.7, 0.7, 3.0, 1.0])


def _raster(path: Path, x: float = 500_000, y: float = 4_000_000, step: float = -10, crs: str = "EPSG:32633") -> Path:
    where: dict[str, Any] = {"crs": crs, "transform": rasterio.Affine(10, 0, x, 0, step, y)}
    with rasterio.open(path, "w", count=1, height=20, width=24, dtype="uint8", **where) as file:
        file.write(CELLS[:1])
    return path


def _refused(source: Path, label: Path) -> str:
    with pytest.raises(DataError) as caught:
        convert(source, source.with_name("refused.zarr"), label=label)
    assert len(str(caught.value)) - len(str(source)) < 500
    return str(caught.value)


def test_a_mask_elsewhere_on_earth_is_refused(tmp_path: Path) -> None:
    image = _raster(tmp_path / "a.tif")
    convert(image, tmp_path / "a.zarr", label=_raster(tmp_path / "near.tif", x=500_004))
    said = _refused(image, _raster(tmp_path / "shifted.tif", x=500_300))
    assert "shifted.tif: expected a mask on the grid of its image (first pixel at (500000, 4000000)" in said
    assert "got another one (first pixel at (500300, 4000000)" in said
    assert "EPSG:32634" in _refused(image, _raster(tmp_path / "zone.tif", crs="EPSG:32634"))
    assert "y (0, 10)" in _refused(image, _raster(tmp_path / "turned.tif", y=3_999_800, step=10))


def test_masks_of_a_folder_that_lie_elsewhere_are_named_by_their_image(tmp_path: Path) -> None:
    for number in range(3):
        for folder in ("images", "masks"):
            (tmp_path / "a" / folder).mkdir(parents=True, exist_ok=True)
            moved = 90 if (folder, number) == ("masks", 1) else 0
            _raster(tmp_path / "a" / folder / f"{number}.tif", x=500_000 + moved)
    with pytest.raises(DataError, match=r"label: images/1\.tif: expected a mask on the grid of its image"):
        convert(tmp_path / "a", tmp_path / "a.zarr")


def test_a_mask_that_is_turned_in_the_scanner_is_refused(tmp_path: Path) -> None:
    for name, affine in (("a", AFFINE), ("same", AFFINE), ("turned", np.diag([-0.7, 0.7, 3.0, 1.0])), ("none", None)):
        nibabel.save(nibabel.Nifti1Image(CELLS.T.copy(), affine), tmp_path / f"{name}.nii.gz")
    convert(tmp_path / "a.nii.gz", tmp_path / "same.zarr", label=tmp_path / "same.nii.gz")
    convert(tmp_path / "a.nii.gz", tmp_path / "none.zarr", label=tmp_path / "none.nii.gz")
    said = _refused(tmp_path / "a.nii.gz", tmp_path / "turned.nii.gz")
    assert "turned.nii.gz: expected a mask on the grid of its image" in said
    assert "x (-0.7, 0, 0)" in said


def test_a_mask_from_south_to_north_is_not_put_on_an_image_from_north_to_south(tmp_path: Path) -> None:
    places = {"lat": np.linspace(60.0, 41.0, 20), "lon": np.arange(24.0)}
    image = xr.Dataset({"sst": (("time", "lat", "lon"), CELLS + 0.5)}, coords=places)
    mask = xr.Dataset({"front": (("time", "lat", "lon"), CELLS)}, coords=places)
    image.to_netcdf(tmp_path / "a.nc")
    mask.to_netcdf(tmp_path / "same.nc")
    mask.isel(lat=slice(None, None, -1)).to_netcdf(tmp_path / "turned.nc")
    convert(tmp_path / "a.nc", tmp_path / "a.zarr", label=tmp_path / "same.nc")
    assert "steps lat (1, 0)" in _refused(tmp_path / "a.nc", tmp_path / "turned.nc")


def test_flags_of_netcdf_are_the_labels_with_their_names(tmp_path: Path) -> None:
    flags = {"flag_values": np.array([0, 1], "i1"), "flag_meanings": "sea front"}
    values = {
        "sst": (("time", "lat", "lon"), CELLS + 0.5),
        "quality": (("time", "lat", "lon"), CELLS.astype("i1"), flags),
        "time_bnds": (("time", "bnds"), np.zeros((12, 2))),
    }
    xr.Dataset(values).to_netcdf(tmp_path / "a.nc")
    convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    label = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, mask_and_scale=False).label
    assert label.attrs["classes"] == ["sea", "front"]
    np.testing.assert_array_equal(label, CELLS)


def test_grids_are_compared_in_pixels_whatever_the_order_of_their_axes() -> None:
    one = Grid(("y", "x"), ((0.0, -10.0), (10.0, 0.0)), (0.0, 0.0))
    assert pixels_apart(one, Grid(("x", "y"), ((10.0, 0.0), (0.0, -10.0)), (0.0, 5.0)), [4, 4]) == pytest.approx(0.5)
    finer = Grid(("y", "x"), ((0.0, -9.0), (10.0, 0.0)), (0.0, 0.0))
    assert pixels_apart(one, finer, [11, 1]) == pytest.approx(1.0)
