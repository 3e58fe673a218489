"""Layouts: tiny files under the published names give the images, classes, spacing and notes that are expected."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.errors
import tifffile
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.conversion import convert
from menndl_dask.data.formats.layouts.layouts import LAYOUTS, open_layout, suggested
from menndl_dask.errors import UserError

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 255, (3, 8, 10)).astype("uint8")
NEURONS = np.repeat([[[5] * 4 + [7] * 6] * 8], 3, axis=0).astype("uint64")
EDGE = np.repeat([[[0] * 3 + [1] * 2 + [0] * 5] * 8], 3, axis=0)


def opened(path: Path, name: str, *bands: str) -> tuple[Content, dict[str, Any]]:
    """Return the content, and the values of its arrays: a list of samples where their sizes differ."""
    with open_layout(path, name, bands) as content:
        values = {}
        for key, source in content.arrays.items():
            items = getattr(source.array, "items", None)
            values[key] = np.asarray(source.array[:]) if items is None else [np.asarray(item[:]) for item in items]
    return content, values


def cremi(path: Path, labels: bool = True, pad: int = 0) -> Path:
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("volumes/raw", data=np.pad(RAW, ((0, 0), (pad, pad), (pad, pad))))
        raw.attrs["resolution"] = (40.0, 4.0, 4.0)
        if labels:
            ids = file.create_dataset("volumes/labels/neuron_ids", data=NEURONS)
            ids[0, 7, 9] = 2**64 - 3
            ids.attrs.update({"resolution": (40.0, 4.0, 4.0), "offset": (0.0, 4.0 * pad, 4.0 * pad)})
    return path


def test_cremi_gives_a_volume_with_boundaries_and_its_resolution(tmp_path: Path) -> None:
    content, values = opened(cremi(tmp_path / "sample_A_20160501.hdf"), "cremi")
    assert content.arrays["image"].dims == ("z", "y", "x")
    assert content.arrays["image"].spacing == {"z": 40.0, "y": 4.0, "x": 4.0}
    np.testing.assert_array_equal(values["image"], RAW)
    assert values["label"][0, 7, 9] == 255
    np.testing.assert_array_equal(values["label"][1:], EDGE[1:])
    assert content.classes == ("inside", "boundary")
    assert "boundaries, in each section" in content.notes[0]


def test_volumes_of_cremi_are_samples_and_padding_is_cropped(tmp_path: Path) -> None:
    cremi(tmp_path / "sample_A_20160501.hdf")
    cremi(tmp_path / "sample_B_padded_20160501.hdf", pad=2)
    cremi(tmp_path / "sample_C+_20160601.hdf", labels=False)
    content, values = opened(tmp_path, "cremi")
    assert content.arrays["image"].dims == ("sample", "z", "y", "x")
    np.testing.assert_array_equal(values["image"][1], RAW)
    assert values["file"].tolist() == ["sample_A_20160501.hdf", "sample_B_padded_20160501.hdf"]
    assert any("(3, 12, 14) was cropped to its labels (3, 8, 10)" in note for note in content.notes)
    assert any(note.startswith("left out: sample_C+_20160601.hdf") for note in content.notes)


def test_boundaries_are_the_same_however_they_are_cut(tmp_path: Path) -> None:
    ids = RNG.integers(0, 3, (3, 20, 22)).repeat(2, 1).astype("uint64")
    with h5py.File(tmp_path / "sample_A.hdf", "w") as file:
        file["volumes/raw"], file["volumes/labels/neuron_ids"] = np.zeros(ids.shape, "uint8"), ids
    with open_layout(tmp_path, "cremi") as content:
        label = content.arrays["label"].array
        whole = label[:]
        np.testing.assert_array_equal(label[1:2, 3:9, 5:6], whole[1:2, 3:9, 5:6])
        np.testing.assert_array_equal(label[2, ::3, 7], whole[2, ::3, 7])


def stacks(path: Path, *names: str, **arrays: np.ndarray) -> Path:
    for name, values in zip(names, arrays.values(), strict=True):
        tifffile.imwrite(path / name, values, photometric="minisblack")
    return path


def test_snemi3d_is_a_volume_and_its_test_volume_is_named_as_left_out(tmp_path: Path) -> None:
    names = ("train-input.tif", "train-labels.tif", "test-input.tif")
    stacks(tmp_path, *names, image=RAW, ids=NEURONS.astype("uint16"), test=RAW)
    content, values = opened(tmp_path, "snemi3d")
    assert content.arrays["image"].spacing == {"z": 30.0, "y": 6.0, "x": 6.0}
    np.testing.assert_array_equal(values["image"], RAW)
    np.testing.assert_array_equal(values["label"], EDGE)
    assert content.notes[-1].startswith("left out: test-input.tif has no labels")


def test_sections_of_isbi_are_samples_in_order_with_membranes_as_class_one(tmp_path: Path) -> None:
    stacks(tmp_path, "train-volume.tif", "train-labels.tif", image=RAW, label=np.where(EDGE, 0, 255).astype("uint8"))
    content, values = opened(tmp_path, "isbi")
    assert content.arrays["image"].dims == ("page", "y", "x")
    assert content.consecutive
    assert content.classes == ("cell", "membrane")
    np.testing.assert_array_equal(values["label"], EDGE)
    tifffile.imwrite(tmp_path / "train-labels.tif", RAW, photometric="minisblack")
    with pytest.raises(UserError, match=r"train-labels\.tif: .*expected the codes 255, 0, got"):
        opened(tmp_path, "isbi")


def band(path: Path, values: np.ndarray, size: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    driver = {".jp2": "JP2OpenJPEG", ".img": "ENVI"}.get(path.suffix, "GTiff")
    options: dict[str, Any] = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    if driver != "ENVI":
        options |= {"crs": "EPSG:32633", "transform": rasterio.Affine(size, 0, 500_000, 0, -size, 4_000_000)}
    shape = {"height": height, "width": width, "count": 1, "dtype": str(values.dtype)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, **shape, **options) as file:
            file.write(values, 1)


def landsat(folder: Path, scene: str, shape: tuple[int, int] = (12, 14)) -> dict[str, np.ndarray]:
    """Write a scene of five bands, of which the eighth has half the pixel size and the tenth is thermal."""
    bands = {}
    for number in (2, 3, 4, 8, 10):
        scale = 2 if number == 8 else 1
        values = RNG.integers(1, 9999, (shape[0] * scale, shape[1] * scale)).astype("uint16")
        values[0, 0] = 0
        bands[f"B{number}"] = values
        band(folder / f"{scene}_B{number}.TIF", values, 30 / scale)
    return bands


def test_bands_of_a_landsat_scene_are_channels(tmp_path: Path) -> None:
    bands = landsat(tmp_path, "LC08_L1TP_193024_20200101_20200101_02_T1")
    content, values = opened(tmp_path, "landsat")
    source = content.arrays["image"]
    assert (source.dims, source.spacing) == (("band", "y", "x"), {"y": 30.0, "x": 30.0})
    for place, name in enumerate(("B2", "B3", "B4", "B10")):
        np.testing.assert_array_equal(values["image"][place], np.where(bands[name] == 0, np.nan, bands[name]))
    assert content.notes[:2] == ("taken: bands B2, B3, B4, B10", "left out: bands B8 (--bands names others)")
    assert values["band"].tolist() == ["B2", "B3", "B4", "B10"]


def test_other_bands_are_resampled_to_the_finest_that_is_chosen(tmp_path: Path) -> None:
    bands = landsat(tmp_path, "LC08_L1TP_193024_20200101_20200101_02_T1")
    content, values = opened(tmp_path, "landsat", "b8", "B2")
    assert content.arrays["image"].spacing == {"y": 15.0, "x": 15.0}
    assert "changed: B2 resampled to pixels of 15 m, bilinearly" in content.notes
    np.testing.assert_array_equal(values["image"][0][1:], bands["B8"][1:])
    middle = values["image"][1][9:15, 9:15]
    np.testing.assert_allclose(middle.mean(), bands["B2"][4:8, 4:8].mean(), rtol=0.2)
    with open_layout(tmp_path, "landsat", ["B8", "B2"]) as again:
        part = again.arrays["image"].array[1, 9:15, 9:15:2]
        np.testing.assert_array_equal(part, middle[:, ::2])
    with pytest.raises(UserError, match=r"expected a band B7, found B2, B3, B4, B8, B10"):
        opened(tmp_path, "landsat", "B7")


def test_the_quality_band_of_landsat_becomes_classes(tmp_path: Path) -> None:
    scene = "LC09_L2SP_193024_20220101_20220101_02_T1"
    band(tmp_path / f"{scene}_SR_B4.TIF", np.ones((2, 4), "uint16"), 30)
    codes = np.array([[1, 1 << 6, 1 << 3 | 1 << 1, 1 << 2], [1 << 4, 1 << 5, 1 << 7, 1 << 1]], "uint16")
    band(tmp_path / f"{scene}_QA_PIXEL.TIF", codes, 30)
    content, values = opened(tmp_path, "landsat")
    classes = content.arrays["QA_PIXEL"].attributes["classes"]
    named = [[classes[n] if n != 255 else "fill" for n in row] for row in values["QA_PIXEL"]]
    assert named == [["fill", "clear", "cloud", "cirrus"], ["cloud shadow", "snow", "water", "dilated cloud"]]
    assert content.label is None


def test_scenes_of_l8_biome_have_their_own_size_and_their_manual_masks(tmp_path: Path) -> None:
    shapes = {"LC80010102014000LGN00": (12, 14), "LC80020202014000LGN00": (10, 16)}
    codes = np.array([0, 64, 128, 192, 255], "uint8")
    for scene, shape in shapes.items():
        landsat(tmp_path / "Barren" / scene, scene, shape)
        band(tmp_path / "Barren" / scene / f"{scene}_fixedmask.img", np.resize(codes, shape), 30)
    landsat(tmp_path / "Forest" / "LC80030302014000LGN00", "LC80030302014000LGN00")
    content, values = opened(tmp_path, "l8biome")
    assert [image.shape for image in values["image"]] == [(4, 12, 14), (4, 10, 16)]
    assert content.arrays["image"].dims == ("sample", "band", "y", "x")
    assert content.classes == ("clear", "cloud shadow", "thin cloud", "cloud")
    assert values["label"][1][0, :5].tolist() == [255, 1, 0, 2, 3]
    assert values["file"].tolist() == list(shapes)
    assert content.notes[-1] == "left out: LC80030302014000LGN00 has no fixedmask"


def sentinel(folder: Path, level: str) -> dict[str, np.ndarray]:
    images = folder / f"S2A_MSI{level}_20181014T102019.SAFE" / "GRANULE" / f"{level}_T32TMP" / "IMG_DATA"
    name = "T32TMP_20181014T102019"
    bands = {}
    for key, size in (("B02", 10), ("B8A", 20), ("B11", 20), ("B09", 60)):
        values = RNG.integers(1, 9999, (960 // size, 1200 // size)).astype("uint16")
        bands[key] = values
        band(images / (f"{name}_{key}.jp2" if level == "L1C" else f"R{size}m/{name}_{key}_{size}m.jp2"), values, size)
    if level == "L2A":
        band(images / f"R20m/{name}_B02_20m.jp2", np.ones((48, 60), "uint16"), 20)
        band(images / f"R20m/{name}_SCL_20m.jp2", np.full((48, 60), 8, "uint8"), 20)
    quality = images.parent / "QI_DATA" / f"{name}_B02.jp2"
    band(quality, np.ones((96, 120), "uint16"), 10)
    return bands


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_bands_of_sentinel_2_are_read_at_their_finest_and_resampled(level: str, tmp_path: Path) -> None:
    bands = sentinel(tmp_path, level)
    content, values = opened(tmp_path, "sentinel2")
    source = content.arrays["image"]
    assert (source.shape, source.spacing) == ((4, 96, 120), {"y": 10.0, "x": 10.0})
    np.testing.assert_array_equal(values["image"][0], bands["B02"])
    assert content.notes[1] == "changed: B8A, B09, B11 resampled to pixels of 10 m, bilinearly"
    if level == "L2A":
        assert set(np.unique(values["SCL"])) == {7}
        assert source.shape[1:] == values["SCL"].shape
        assert content.arrays["SCL"].attributes["classes"][7] == "cloud of medium probability"


def test_a_folder_with_a_layout_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "cremi").mkdir()
    cremi(tmp_path / "cremi" / "sample_A_20160501.hdf")
    for name, files in (("snemi3d", ("train-input.tif",)), ("isbi", ("train-volume.tif",))):
        (tmp_path / name).mkdir()
        stacks(tmp_path / name, *files, "train-labels.tif", image=RAW, label=RAW)
    landsat(tmp_path / "landsat", "LC08_L1TP_193024_20200101_20200101_02_T1")
    landsat(tmp_path / "l8biome" / "Barren" / "LC8", "LC80010102014000LGN00")
    band(tmp_path / "l8biome" / "Barren" / "LC8" / "LC80010102014000LGN00_fixedmask.img", RAW[0], 30)
    sentinel(tmp_path / "sentinel2", "L1C")
    _nnunet(tmp_path / "nnunet", 1, labels={})
    for name, layout in LAYOUTS.items():
        assert suggested(tmp_path / name) == f"looks like {layout.title}: add --layout {name}"
    assert suggested(tmp_path) is None
    assert suggested(tmp_path / "isbi" / "train-labels.tif") is None
    with pytest.raises(UserError, match=r"isbi: the folder looks like ISBI 2012: add --layout isbi, or name images"):
        convert(tmp_path / "isbi", tmp_path / "a.zarr")  # its labels would be taken for images
    with pytest.raises(UserError, match=r"sample_A_20160501\.hdf: .*; it looks like CREMI: add --layout cremi$"):
        convert(tmp_path / "cremi" / "sample_A_20160501.hdf", tmp_path / "a.zarr")


def test_what_a_layout_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"layout: expected one of cremi, .*got 'landsta'; did you mean 'landsat'\?"):
        open_layout(tmp_path, "landsta")
    with pytest.raises(UserError, match="bands: the layout isbi has no bands to choose"):
        open_layout(tmp_path, "isbi", ["B2"])
    for name in LAYOUTS:
        with pytest.raises(UserError, match=r": expected .*, found no"), open_layout(tmp_path, name):
            pass
    with pytest.raises(UserError, match=r"gone: expected a file or folder, found none"):
        open_layout(tmp_path / "gone", "cremi")


def test_every_layout_becomes_a_problem(tmp_path: Path) -> None:
    """Volumes, sections and scenes, equal and unequal, are read again as they were written."""
    for letter in "AB":
        cremi(tmp_path / f"sample_{letter}.hdf")
    (tmp_path / "isbi").mkdir()
    masks = np.resize([0, 255], (12, 8, 10)).astype("uint8")
    stacks(tmp_path / "isbi", "train-volume.tif", "train-labels.tif", image=np.resize(RAW, masks.shape), label=masks)
    for number, shape in enumerate([(12, 14), (10, 16), (12, 14), (12, 14)]):
        scene = f"LC8001010201400{number}LGN00"
        landsat(tmp_path / "biome" / scene, scene, shape)
        codes = np.resize(np.array([0, 64, 128, 192, 255], "uint8"), shape)
        band(tmp_path / "biome" / scene / f"{scene}_fixedmask.img", codes, 30)
    convert(tmp_path, tmp_path / "cremi.zarr", layout="cremi")
    convert(tmp_path / "isbi", tmp_path / "isbi.zarr", layout="isbi")
    convert(tmp_path / "biome", tmp_path / "biome.zarr", layout="l8biome")
    convert(tmp_path / "biome" / "LC80010102014000LGN00", tmp_path / "scene.zarr", layout="landsat", bands=["B4", "B2"])
    isbi = open_problem(tmp_path / "isbi.zarr")
    assert isbi.facts.classes == ("cell", "membrane")
    biome = open_problem(tmp_path / "biome.zarr")
    assert biome.facts.classes == ("clear", "cloud shadow", "thin cloud", "cloud")
    assert biome.facts.input_shapes[0][-1] == 4
    data = xr.open_zarr(tmp_path / "scene.zarr", consolidated=False)
    assert data.image.attrs["spacing"] == [30.0, 30.0]
    assert data.channel.values.tolist() == ["B4", "B2"]
    volume = xr.open_zarr(tmp_path / "cremi.zarr", consolidated=False, mask_and_scale=False)
    np.testing.assert_array_equal(volume.label.values[1][1:], EDGE[1:])
    assert volume.label.attrs["classes"] == ["inside", "boundary"]


def test_a_band_that_was_cut_is_named(tmp_path: Path) -> None:
    scene = "LC08_L1TP_193024_20200101_20200101_02_T1"
    landsat(tmp_path, scene, (120, 140))
    file = tmp_path / f"{scene}_B3.TIF"
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(UserError, match=rf"{scene}_B3\.TIF: cannot be read as a band: \w+Error: [^\n]*$"):
        convert(tmp_path, tmp_path.parent / "cut.zarr", layout="landsat")
    file.write_bytes(b"II")
    with pytest.raises(UserError, match=rf"{scene}_B3\.TIF: cannot be read as a band: \w+Error: [^\n]*$"):
        convert(tmp_path, tmp_path.parent / "cut.zarr", layout="landsat")
    assert not (tmp_path.parent / "cut.zarr").exists()


def _nnunet(path: Path, channels: int, **about: Any) -> Path:
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (path / folder).mkdir(parents=True)
    for case in range(3):
        names = [f"case_{case:03}_{n:04}" for n in range(channels)] if channels else [f"case_{case:03}"]
        for number, name in enumerate(names):
            tifffile.imwrite(path / "imagesTr" / f"{name}.tif", RAW + case + 10 * number, photometric="minisblack")
        label = (RAW > 99).astype("uint8") * (1 + (RAW > 180))
        tifffile.imwrite(path / "labelsTr" / f"case_{case:03}.tif", label, photometric="minisblack")
    (path / "dataset.json").write_text(json.dumps(about))
    return path


def test_nnunet_has_a_file_for_each_channel_and_names_in_a_description(tmp_path: Path) -> None:
    labels = {"background": 0, "tumour": 1, "ignore": 2}
    root = _nnunet(tmp_path / "a", 2, channel_names={"0": "T1", "1": "T2"}, labels=labels)
    assert suggested(root) == "looks like nnU-Net's raw data: add --layout nnunet"
    content, values = opened(root, "nnunet")
    assert content.arrays["image"].dims == ("sample", "channel", "z", "y", "x")
    np.testing.assert_array_equal(values["image"][2], np.stack([RAW + 2, RAW + 12]))
    assert content.arrays["channel"].array[:].tolist() == ["T1", "T2"]
    assert content.classes == ("background", "tumour")
    assert content.arrays["label"].attributes["fill"] == 2
    assert "left out: imagesTs, which has no labels" in content.notes
    problem = open_problem(convert(root, tmp_path / "a.zarr", layout="nnunet"))
    assert (problem.facts.classes, problem.ignore) == (("background", "tumour"), 2)


def test_a_task_of_the_decathlon_has_one_file_a_case(tmp_path: Path) -> None:
    labels = {"0": "background", "1": "edema", "2": "tumour"}
    content, _ = opened(_nnunet(tmp_path / "a", 0, modality={"0": "CT"}, labels=labels), "nnunet")
    assert content.arrays["image"].dims == ("sample", "z", "y", "x")
    assert content.classes == ("background", "edema", "tumour")


def test_cases_of_nnunet_without_a_label_or_a_channel_are_told(tmp_path: Path) -> None:
    root = _nnunet(tmp_path / "a", 2, labels={})
    (root / "imagesTr" / "case_001_0001.tif").unlink()
    with pytest.raises(UserError, match="case_001: expected 2 files as in other cases, got 1"):
        opened(root, "nnunet")
    (root / "labelsTr" / "case_001.tif").unlink()
    with pytest.raises(UserError, match=r"labelsTr: expected a file for each case, found none for 1 of 3 cases"):
        opened(root, "nnunet")
