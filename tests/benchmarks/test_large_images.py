"""The parts of the benchmark of large images that do not search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from benchmarks.large_images import _spread, cut_tiles, images_of


def test_tiles_hold_their_pixels_and_the_number_and_the_split_of_their_image(tmp_path: Path) -> None:
    numbers = np.arange(2 * 40 * 50).reshape(2, 40, 50)
    images = xr.Dataset(
        {"image": (("sample", "y", "x"), numbers.astype("int32")), "label": (("sample", "y", "x"), numbers % 3)},
        {"split": ("sample", np.array(["train", "test"], dtype=object))},
    )
    images.to_zarr(tmp_path / "images.zarr", zarr_format=3, consolidated=False)
    tiles = xr.open_zarr(cut_tiles(tmp_path / "images.zarr", tmp_path / "tiles.zarr", (16, 16)), consolidated=False)
    assert tiles["image"].shape == (12, 16, 16)
    assert (tiles["label"] == tiles["image"] % 3).all()
    assert tiles["image_number"].values.tolist() == [0] * 6 + [1] * 6
    assert tiles["split"].values.tolist() == ["train"] * 6 + ["test"] * 6
    assert np.array_equal(tiles["image"][7], numbers[1, :16, 16:32])


def test_images_of_every_layout_are_found(tmp_path: Path) -> None:
    unequal = zarr.open_group(tmp_path / "unequal.zarr", mode="w")
    for number in range(2):
        for name in ("image", "label"):
            unequal.create_array(f"samples/{number:05}/{name}", data=np.full((4 + number, 5), number))
    assert [(n, image.shape, int(label[0, 0])) for n, image, label in images_of(tmp_path / "unequal.zarr")] == [
        (0, (4, 5), 0),
        (1, (5, 5), 1),
    ]
    one = zarr.open_group(tmp_path / "one.zarr", mode="w")
    for name in ("image", "label"):
        one.create_array(name, data=np.zeros((3, 4, 5)), dimension_names=("z", "y", "x"))
    assert [image.shape for _, image, _ in images_of(tmp_path / "one.zarr")] == [(3, 4, 5)]


def test_the_spread_leaves_out_images_without_a_class() -> None:
    assert _spread([[0.5, float("nan")], [0.7, 0.2]]) == "0.600 (0.500 to 0.700), 0.200 (0.200 to 0.200) in 2 images"
