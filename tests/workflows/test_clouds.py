"""Chips of clouds: their classes, what is left out, and whole scenes in one split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from clouds import Chips, Cut, chips_of, choose_chips, split_scenes
from landsat_scenes import FILL, Scene, read_scenes

from menndl_dask import UserError, open_problem
from tests.landsat import write_biomes

TO_CLASSIFY = Cut("classification", chip=4)


def scene(label: np.ndarray, name: str = "a", biome: str = "", split: str = "") -> Scene:
    """Return a scene of one band, the number of each pixel, with these labels."""
    numbers = np.arange(label.size, dtype="float32").reshape(*label.shape, 1)
    return Scene(
        name, biome, split, label.shape, ("blue",), lambda *part: numbers[part], lambda *part: label[part]
    )  # fmt: skip


def chips(*cloudy: int, fill: int = 0) -> np.ndarray:
    """Return chips of 4 × 4 pixels beside each other with so many pixels of cloud, and so many without a label."""
    each = [np.array([1] * n + [0] * (16 - n - fill) + [FILL] * fill, "uint8").reshape(4, 4) for n in cloudy]
    return np.concatenate(each, axis=1)


def test_a_chip_is_of_the_class_that_most_of_its_pixels_have() -> None:
    found = choose_chips(scene(chips(0, 3, 4, 8, 12, 13, 16)), TO_CLASSIFY)
    assert found.corners == [(0, 0), (0, 4), (0, 20), (0, 24)]
    assert found.classes == [0, 0, 1, 1]
    assert found.left == {"mixed": 3}


def test_pixels_without_a_label_do_not_count_and_a_chip_of_them_is_left_out() -> None:
    # 7 of 9 labelled pixels are cloud: less than 0.8; 8 of 9 are more
    found = choose_chips(scene(chips(7, 8, fill=7)), TO_CLASSIFY)
    assert (found.corners, found.classes, found.left) == ([(0, 4)], [1], {"mixed": 1})
    found = choose_chips(scene(chips(0, 7, fill=9)), TO_CLASSIFY)
    assert found == Chips(left={"mostly without a label": 2})  # type: ignore[arg-type]


def test_mixed_chips_are_kept_for_segmentation_and_no_more_than_asked_of_a_scene() -> None:
    label = chips(0, 8, 16, 4)
    assert len(choose_chips(scene(label), Cut(chip=4)).corners) == 4
    found = choose_chips(scene(label), Cut(chip=4, most=3))
    assert len(found.corners) == 3 and sum(found.left.values()) == 1
    assert found.corners == sorted(found.corners)
    assert found == choose_chips(scene(label), Cut(chip=4, most=3))


def test_scenes_are_split_whole_within_each_biome_by_the_seed() -> None:
    scenes = [scene(chips(0), f"{biome}{n}", biome) for biome in ("barren", "water") for n in range(20)]
    found = split_scenes(scenes, seed=3)
    for biome in ("barren", "water"):
        splits = [each.split for each in found if each.biome == biome]
        assert splits.count("train") in (13, 14, 15) and {"validation", "test"} <= set(splits)
    assert [s.split for s in found] == [s.split for s in split_scenes(scenes, seed=3)]
    assert [s.split for s in found] != [s.split for s in split_scenes(scenes, seed=4)]
    with pytest.raises(UserError, match="expected at least 3 scenes, one for each split, got 2"):
        split_scenes(scenes[:2], seed=0)


def test_splits_may_be_given_in_a_table(tmp_path: Path) -> None:
    scenes = [scene(chips(0), name, split="train") for name in "ab"]
    table = tmp_path / "splits.csv"
    table.write_text("scene,split\na,test\nb,train\nc,train\n")
    assert [each.split for each in split_scenes(scenes, 0, table)] == ["test", "train"]
    table.write_text("scene,split\na,test\nb,val\n")
    with pytest.raises(UserError, match=r"splits\.csv: expected columns scene and split, .*, got val for b"):
        split_scenes(scenes, 0, table)


def test_the_store_has_the_chips_of_scenes_and_says_of_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_biomes(tmp_path / "biomes")
    store = chips_of([tmp_path / "biomes"], tmp_path / "chips.zarr", Cut("classification", chip=16))
    data = xr.open_zarr(store, consolidated=False).load()
    assert data["image"].shape == (24, 16, 16, 8)
    assert sorted(data["label"].values.tolist()) == [0] * 12 + [1] * 12
    assert data["scene"].values[:5].tolist() == ["LC80000062014080LGN00"] * 4 + ["LC80010062014080LGN00"]
    splits = {name: set(each["split"].values.tolist()) for name, each in data.groupby("scene")}
    assert all(len(names) == 1 for names in splits.values()) and len(splits) == 6
    scenes, _ = read_scenes([tmp_path / "biomes"])
    expected = scenes[1].image(slice(16, 32), slice(0, 16))
    np.testing.assert_array_equal(data["image"][6], expected)
    # clouds are bright
    assert data["image"][data["label"] == 1, ..., 0].min() > data["image"][data["label"] == 0, ..., 0].max()
    problem = open_problem(store, group="scene")
    assert problem.task == "classification" and problem.facts.classes == ("clear", "cloud")
    assert "chips of 16 x 16 pixels: 24 of 6 scenes" in capsys.readouterr().out


def test_pixels_keep_their_labels_and_what_is_cut_off_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_biomes(tmp_path / "biomes")
    store = chips_of([tmp_path / "biomes"], tmp_path / "chips.zarr", Cut(chip=12))
    data = xr.open_zarr(store, consolidated=False, mask_and_scale=False).load()
    scenes, _ = read_scenes([tmp_path / "biomes"])
    assert data["label"].shape == (24, 12, 12)
    np.testing.assert_array_equal(data["label"][5], scenes[1].label(slice(0, 12), slice(12, 24)))
    assert f"left out: {6 * (32**2 - 24**2):,} pixels at the lower and right edges" in capsys.readouterr().out
    assert chips_of([tmp_path / "biomes"], store, Cut(chip=12)) == store
    with pytest.raises(UserError, match=r"was made with chips .*chip=12.*, now .*chip=16.*: choose another --run"):
        chips_of([tmp_path / "biomes"], store, Cut(chip=16))
    with pytest.raises(UserError, match="--chip: expected 1 to 32 pixels, the size of the smallest scene, got 64"):
        chips_of([tmp_path / "biomes"], tmp_path / "other.zarr", Cut(chip=64))
