"""Scenes and patches of L8 Biome: physical values, labels, biomes, and one line for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from landsat_scenes import FILL, read_scenes

from menndl_dask import UserError
from tests.landsat import write_biomes, write_scene

WHOLE = (slice(None), slice(None))
CODES = np.array([[0, 64, 128, 192, 255, 255]] * 4, "uint8")


def test_a_scene_has_reflectance_kelvin_and_the_codes_of_its_mask(tmp_path: Path) -> None:
    blue = write_scene(tmp_path / "Barren" / "BC", "LC80010022014080LGN00", CODES)
    (scene,), notes = read_scenes([tmp_path])
    assert (scene.name, scene.biome, scene.split, scene.size) == ("LC80010022014080LGN00", "barren", "", (4, 6))
    assert scene.bands == ("blue", "green", "red", "nir", "swir1", "swir2", "cirrus", "tir1_K")
    assert scene.label(*WHOLE)[0].tolist() == [FILL, 0, 0, 1, 1, 1]
    image = scene.image(slice(1, 3), slice(0, 6))
    assert image.shape == (2, 6, 8) and image.dtype == np.float32
    assert np.isnan(image[:, 0]).all()
    # (M Q + A) / sin(30 degrees)
    assert image[:, 1:, 0] == pytest.approx((2e-5 * blue[1:3, 1:] - 0.1) / 0.5, rel=1e-5)
    # 20,000 to 22,000 are 6.8 to 7.5 W/(m2 sr um): by Planck's law at 10.9 um about 278 to 285 K, and clouds are colder
    assert (image[:, 1:3, -1] > 276).all() and (image[:, 1:3, -1] < 287).all()
    assert (image[:, 3:, -1] < 265).all()
    assert notes == ["left out: B1, the panchromatic band B8, whose pixels are smaller, and B11"]


def test_a_thermal_band_with_other_pixels_is_left_out_and_told(tmp_path: Path) -> None:
    write_scene(tmp_path, "LC80010022014080LGN00", CODES, thermal=60)
    (scene,), notes = read_scenes([tmp_path])
    assert scene.bands[-1] == "cirrus" and scene.image(*WHOLE).shape == (4, 6, 7)
    assert notes[-1].startswith("left out: the thermal band B10, which LC80010022014080LGN00 lacks")


def test_folders_of_several_scenes_are_read_together(tmp_path: Path) -> None:
    write_biomes(tmp_path)
    (tmp_path / "SnowIce" / "BC" / "LC80020072014080LGN00" / "LC80020072014080LGN00_fixedmask.img").unlink()
    scenes, notes = read_scenes([tmp_path / "Barren", tmp_path / "SnowIce"])
    assert [scene.biome for scene in scenes] == ["barren"] * 3 + ["snowice"] * 2
    assert notes[-1] == "left out: LC80020072014080LGN00 has no fixedmask"
    with pytest.raises(UserError, match=r"expected each scene once, found LC80000062014080LGN00 again"):
        read_scenes([tmp_path / "Barren", tmp_path])


def write_patches(path: Path, **changed: np.ndarray) -> Path:
    label = np.array([[[0, 1, 2], [3, 255, 0]]] * 3, "uint8")
    image = np.arange(3 * 2 * 6).reshape(3, 2, 2, 3).astype("int16")
    arrays = {
        "image": image,
        "label": label,
        "scale": np.array([0.5, 2.0]),
        "split": np.array(["train", "val", "test"]),
    }
    np.savez(path, **{**arrays, "name": np.array(["SnowIce_01_0909", "a", "b"]), **changed})
    return path


def test_patches_are_scaled_and_keep_their_names_and_splits(tmp_path: Path) -> None:
    scenes, _ = read_scenes([write_patches(tmp_path / "p.npz")])
    assert [(s.name, s.biome, s.split) for s in scenes] == [
        ("SnowIce_01_0909", "snowice", "train"), ("a", "", "validation"), ("b", "", "test"),
    ]  # fmt: skip
    assert scenes[1].image(slice(1, 2), slice(0, 2)).tolist() == [[[7.5, 42.0], [8.0, 44.0]]]
    assert scenes[2].label(*WHOLE).tolist() == [[0, 1, 0], [1, FILL, 0]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": np.ones(3)}, r"p\.npz: expected image \(patch, band, y, x\), .* scale \(3,\)"),
        ({"label": np.full((3, 2, 3), 7)}, "label: expected the codes 0 to 3 and 255, got 7"),
        ({"split": np.array(["train", "vla", "test"])}, "split: a: expected train, val or test, got 'vla'"),
    ],
)
def test_patches_of_another_layout_are_one_line(tmp_path: Path, changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_scenes([write_patches(tmp_path / "p.npz", **changed)])


def test_what_is_no_scene_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", image=CODES, label=CODES)
    with pytest.raises(UserError, match="expected the arrays image, label, scale, split, found no scale, split"):
        read_scenes([tmp_path / "p.npz"])
    with pytest.raises(UserError, match=r"expected one \.npz file, or folders of scenes, got 2 paths"):
        read_scenes([tmp_path / "p.npz", tmp_path])
    with pytest.raises(UserError, match="expected a file for each band"):
        read_scenes([tmp_path])
    write_scene(tmp_path, "LC80010022014080LGN00", CODES)
    metadata = tmp_path / "LC80010022014080LGN00" / "LC80010022014080LGN00_MTL.txt"
    metadata.write_text(metadata.read_text().replace("SUN_ELEVATION", "SUN"))
    with pytest.raises(UserError, match=r"MTL\.txt: SUN_ELEVATION: expected a number, got no such key"):
        read_scenes([tmp_path])
    metadata.unlink()
    with pytest.raises(UserError, match=r"MTL\.txt: expected the metadata of the scene beside its bands"):
        read_scenes([tmp_path])
