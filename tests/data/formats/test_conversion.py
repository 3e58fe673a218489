"""Conversion: from each format the same samples come out, and what is wrong is one line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from PIL import Image

from menndl_dask.data.data import open_problem, splits
from menndl_dask.data.formats.conversion import convert
from menndl_dask.errors import UserError
from tests import stores


def _arrays(kind: str) -> tuple[np.ndarray, np.ndarray]:
    data = getattr(stores, kind)()
    return data.image.values, data.label.values


def _opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, chunks=None, consolidated=False, mask_and_scale=False)


def _npz(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), image=images, label=labels)
    return path.with_suffix(".npz")


def _hdf5(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["image"], file["label"] = images, labels
    return path.with_suffix(".h5")


def _netcdf(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    stores.dataset(images, labels).to_netcdf(path.with_suffix(".nc"), engine="netcdf4")
    return path.with_suffix(".nc")


@pytest.mark.parametrize("make", [_npz, _hdf5, _netcdf])
@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_arrays_in_files_become_a_problem(
    make: Callable[[Path, np.ndarray, np.ndarray], Path], kind: str, tmp_path: Path
) -> None:
    images, labels = _arrays(kind)
    target = convert(make(tmp_path / "data", images, labels), tmp_path / "data.zarr", fill=255)
    data = _opened(target)
    np.testing.assert_array_equal(data.image.values, images)
    np.testing.assert_array_equal(data.label.values, labels)
    assert data.image.dims == ("sample", "y", "x", "channel")
    assert data.image.dtype == images.dtype
    assert open_problem(target).task == kind
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_values_to_predict_are_kept_as_they_are(tmp_path: Path) -> None:
    data = stores.regression()
    target = convert(_npz(tmp_path / "data", data.image.values, data.label.values), tmp_path / "data.zarr")
    assert _opened(target).label.dims == ("sample", "value")
    assert open_problem(target).task == "regression"


def test_what_else_is_known_of_each_sample_comes_along(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    split = np.resize(["train", "train", "val", "test"], len(labels))
    np.savez(tmp_path / "a.npz", x=images, y=labels, split=split, scene=np.arange(60) // 4, classes=stores.CLASSES)
    target = convert(tmp_path / "a.npz", tmp_path / "a.zarr")
    problem = open_problem(target, group="scene")
    assert problem.facts.classes == tuple(stores.CLASSES)
    assert splits(problem)["validation"].tolist() == list(range(2, 60, 4))


def test_channels_first_and_volumes_and_lines_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[str, ...]] = {
        ((9, 8, 20, 21), (9, 20, 21)): ("sample", "channel", "y", "x"),
        ((9, 20, 21, 8), (9, 20, 21)): ("sample", "y", "x", "channel"),
        ((9, 8, 20, 21), (9, 8, 20, 21)): ("sample", "z", "y", "x"),
        ((9, 3, 20, 21), (9,)): ("sample", "channel", "y", "x"),
        ((9, 20, 21, 3), (9,)): ("sample", "y", "x", "channel"),
        ((9, 10, 20, 21), (9,)): ("sample", "z", "y", "x"),
        ((9, 5, 10, 6, 7), (9,)): ("sample", "z", "y", "x", "channel"),
        ((9, 20, 21), (9,)): ("sample", "y", "x"),
        ((9, 20), (9,)): ("sample", "x"),
        ((9, 20, 1), (9,)): ("sample", "x", "channel"),
    }
    for number, ((image, label), dims) in enumerate(shapes.items()):
        source = _npz(tmp_path / f"{number}", rng.random(image), rng.integers(0, 2, label))
        assert _opened(convert(source, tmp_path / f"{number}.zarr")).image.dims == dims
    source = _npz(tmp_path / "named", rng.random((4, 5, 9)), np.arange(9) % 2)
    named = _opened(convert(source, tmp_path / "named.zarr", dims=["x", "band", "sample"]))
    assert named.image.dims == ("sample", "x", "channel")


def test_names_can_be_given_and_several_images_are_views(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan/first"], file["scan/second"], file["truth"] = images, images[..., 0], labels
        file["truth"].attrs["fill"] = 9
    views = ["scan/first", "scan/second"]
    target = convert(tmp_path / "a.h5", tmp_path / "a.zarr", images=views, label="truth", classes=stores.CLASSES)
    problem = open_problem(target, inputs=("scan_first", "scan_second"))
    assert problem.facts.input_shapes == ((8, 6, 2), (8, 6, 1))
    assert problem.facts.classes == tuple(stores.CLASSES)
    assert problem.ignore == 9


def test_named_dimensions_and_text_in_hdf5_are_used(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        images = file.create_dataset("image", data=np.arange(4 * 5 * 9).reshape(4, 5, 9))
        for place, name in enumerate(["y", "x", "sample"]):
            images.dims[place].label = name
        file["label"] = ["cat", "dog", "dog"] * 3
    data = _opened(convert(tmp_path / "a.h5", tmp_path / "a.zarr"))
    assert data.image.shape == (9, 4, 5)
    assert data.label.attrs["classes"] == ["cat", "dog"]
    assert data.label.values.tolist() == [0, 1, 1] * 3


def test_scaled_netcdf_is_decoded_and_its_labels_keep_their_fill_value(tmp_path: Path) -> None:
    images, labels = _arrays("segmentation")
    data = stores.dataset(images.astype("float64"), labels)
    data.image.values[0, 0, 0] = np.nan
    encoding: dict[str, Any] = {
        "image": {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -9999},
        "label": {"_FillValue": 255},
    }
    data.to_netcdf(tmp_path / "a.nc", engine="netcdf4", encoding=encoding)
    target = convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    np.testing.assert_array_equal(_opened(target).image.values, data.image.values)
    assert open_problem(target).ignore == 255


def test_single_column_and_truth_valued_labels_are_class_numbers(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    column = _opened(convert(_npz(tmp_path / "a", images, labels[:, None]), tmp_path / "a.zarr"))
    assert column.label.dims == ("sample",)
    truth = _opened(convert(_npz(tmp_path / "b", images, labels > 0), tmp_path / "b.zarr"))
    assert truth.label.values.tolist() == (labels > 0).astype(int).tolist()


def test_a_tiff_stack_with_masks_becomes_a_problem(tmp_path: Path) -> None:
    images, labels = _arrays("segmentation")
    tifffile.imwrite(tmp_path / "images.tif", images[..., 0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks.tif", labels, photometric="minisblack")
    target = convert(tmp_path / "images.tif", tmp_path / "a.zarr", label=str(tmp_path / "masks.tif"), fill=255)
    np.testing.assert_array_equal(_opened(target).image.values, images[..., 0])
    assert open_problem(target).task == "segmentation"


def test_a_tiff_stack_with_a_table_becomes_a_problem(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    tifffile.imwrite(tmp_path / "images.tif", images[..., 0], photometric="minisblack")
    rows = [(stores.CLASSES[label], ["train", "test", "val"][n % 3], n // 5) for n, label in enumerate(labels)]
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("label", "split", "scene"), *rows])
    target = convert(tmp_path / "images.tif", tmp_path / "a.zarr", label=str(tmp_path / "labels.csv"))
    problem = open_problem(target, group="scene")
    assert problem.facts.classes == tuple(sorted(stores.CLASSES))
    assert problem.facts.samples == (20, 20, 20)


def test_a_table_of_one_column_holds_numbers(tmp_path: Path) -> None:
    images, _ = _arrays("classification")
    tifffile.imwrite(tmp_path / "images.tif", images[..., 0], photometric="minisblack")
    (tmp_path / "values.csv").write_text("\n".join(f"{n / 7}" for n in range(60)), encoding="utf-8")
    target = convert(tmp_path / "images.tif", tmp_path / "a.zarr", label=str(tmp_path / "values.csv"))
    assert open_problem(target).task == "regression"


def _folder_of_classes(root: Path, colour: bool = True) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            shape = (5, 7, 3) if colour else (5, 7)
            Image.fromarray(rng.integers(0, 255, shape, dtype="uint8")).save(root / name / f"{number}.png")
    return root


def test_a_folder_of_classes_becomes_a_problem(tmp_path: Path) -> None:
    target = convert(_folder_of_classes(tmp_path / "pets"), tmp_path / "pets.zarr")
    problem = open_problem(target)
    assert problem.facts.classes == ("cat", "dog")
    assert problem.facts.input_shapes == ((5, 7, 3),)
    data = _opened(target)
    assert data.file.values.tolist()[:2] == ["cat/0.png", "cat/1.png"]
    np.testing.assert_array_equal(data.image.values[7], np.asarray(Image.open(tmp_path / "pets" / "dog" / "1.png")))


def test_folders_named_like_splits_are_splits(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        _folder_of_classes(tmp_path / "pets" / name, colour=False)
    problem = open_problem(convert(tmp_path / "pets", tmp_path / "pets.zarr"))
    assert problem.facts.samples == (12, 12, 12)
    assert problem.facts.input_shapes == ((5, 7, 1),)


def test_a_folder_of_images_and_masks_becomes_a_problem(tmp_path: Path) -> None:
    images, labels = _arrays("segmentation")
    for name in ("images", "masks"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        tifffile.imwrite(tmp_path / "scans" / "images" / f"{number:02}.tif", image[..., 0], photometric="minisblack")
        white = np.where(label == 1, 255, 0).astype("uint8")
        Image.fromarray(white).save(tmp_path / "scans" / "masks" / f"{number:02}.png")
    target = convert(tmp_path / "scans", tmp_path / "scans.zarr", classes=["background", "spot"])
    data = _opened(target)
    np.testing.assert_array_equal(data.image.values, images[..., 0])
    np.testing.assert_array_equal(data.label.values, labels == 1)
    assert open_problem(target).facts.classes == ("background", "spot")


def test_palettes_are_colours_of_images_and_numbers_of_masks(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "a" / name).mkdir(parents=True)
    numbers = np.arange(12, dtype="uint8").reshape(3, 4) % 3
    for number in range(4):
        picture = Image.fromarray(numbers + 0)
        picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        picture.save(tmp_path / "a" / "images" / f"{number}.png")
        picture.save(tmp_path / "a" / "labels" / f"{number}.png")
    data = _opened(convert(tmp_path / "a", tmp_path / "a.zarr"))
    assert data.image.values[0, 0, 1].tolist() == [40, 50, 60]
    np.testing.assert_array_equal(data.label.values[0], numbers)


def test_chunks_hold_some_megabytes_or_what_was_asked(tmp_path: Path) -> None:
    images, labels = np.zeros((40, 512, 512), dtype="uint8"), np.arange(40) % 2
    source = _npz(tmp_path / "a", images, labels)
    assert _opened(convert(source, tmp_path / "a.zarr")).image.encoding["chunks"] == (16, 512, 512)
    assert _opened(convert(source, tmp_path / "b.zarr", chunk=3)).image.encoding["chunks"] == (3, 512, 512)


def _refused(source: Path, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        convert(source, tmp_path / "out.zarr", **options)
    assert not (tmp_path / "out.zarr").exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_existing_store_is_not_overwritten(tmp_path: Path) -> None:
    source = _npz(tmp_path / "a", *_arrays("classification"))
    convert(source, tmp_path / "a.zarr")
    with pytest.raises(UserError, match=r"a\.zarr: expected a new name, found an existing store; remove it"):
        convert(source, tmp_path / "a.zarr")


def test_sources_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    source = _npz(tmp_path / "data", *_arrays("classification"))
    assert _refused(tmp_path / "date.npz", tmp_path).endswith("found none; did you mean 'data.npz'?")
    store = convert(source, tmp_path / "data.zarr")
    assert "needs no conversion" in _refused(store, tmp_path)
    (tmp_path / "a.xyz").touch()
    assert "a.xyz: expected a folder of images, a file such as .npz, " in _refused(tmp_path / "a.xyz", tmp_path)
    for suffix, kind in ((".npz", ".npz"), (".h5", "HDF5"), (".nc", "NetCDF"), (".tif", "TIFF")):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"nothing that is known")
        assert f"broken{suffix}: cannot be read as {kind}: " in _refused(broken, tmp_path)


def test_arrays_that_are_not_there_are_told(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    np.savez(tmp_path / "a.npz", pictures=images, sketches=images, truth=labels)
    expected = "a.npz: expected an array with the images (image, images, x, X, data, img), found pictures (60, 8, 6, 2)"
    assert expected in _refused(tmp_path / "a.npz", tmp_path)
    message = _refused(tmp_path / "a.npz", tmp_path, images="picture", label="truth")
    assert "expected an array 'picture'" in message
    assert "did you mean 'pictures'?" in message


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        ((6, 4, 4), (5,), {}, "label: expected 6 samples as in image, got 5"),
        ((6, 4, 4), (6, 3, 3), {}, "label: expected one label for each sample (sample) or pixel (sample, 4, 4)"),
        ((6,), (6,), {}, "image: expected images (sample, one to three spatial axes, channel), got shape (6,)"),
        ((6, 4, 4), (6,), {"dims": ["sample", "y"]}, "image: dims: expected 3 names for the shape (6, 4, 4), got"),
        ((6, 4, 4), (6,), {"label": "labels.csv"}, "labels.csv: expected a file with the labels, found none"),
    ],
)
def test_shapes_that_do_not_fit_are_told(
    images: tuple[int, ...], labels: tuple[int, ...], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = _npz(tmp_path / "a", np.zeros(images), np.zeros(labels, dtype=int))
    assert message in _refused(source, tmp_path, **options)


def test_names_of_classes_that_do_not_cover_the_labels_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((3, 4, 4)), label=["cat", "dog", "cow"])
    message = _refused(tmp_path / "a.npz", tmp_path, classes=["cat", "dog"])
    assert "label: sample 2: expected one of cat, dog, got 'cow'" in message


def test_tables_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    source = _npz(tmp_path / "a", *_arrays("classification"))
    table = tmp_path / "t.csv"
    for text, message in (
        ("", "expected a row for each sample, got none"),
        ("1,2\n3,4\n", "expected one column, or a first row with a column 'label', got 1, 2"),
        ("label,split\n1\n", "line 2: expected 2 values, got 1"),
        ("label\n\udcff", "expected a table in UTF-8, got the byte 0xff in line 2; save it as CSV UTF-8"),
    ):
        table.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert message in _refused(source, tmp_path, label=str(table))


def test_folders_that_hold_something_else_are_told(tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    assert "a: expected a subfolder with images for each class" in _refused(root, tmp_path)
    (root / "masks").mkdir()
    assert "a: expected a subfolder images beside masks, found none" in _refused(root, tmp_path)
    (root / "images").mkdir()
    assert "expected images (.png, " in _refused(root, tmp_path)
    Image.new("L", (4, 4)).save(root / "images" / "one.png")
    assert "one.png: expected a mask masks/one.*, found none" in _refused(root, tmp_path)
    (root / "masks" / "one.png").write_bytes(b"no picture")
    assert "one.png: cannot be read as an image" in _refused(root, tmp_path)
    mixed = tmp_path / "mixed"
    (mixed / "train" / "masks").mkdir(parents=True)
    (mixed / "test" / "cat").mkdir(parents=True)
    assert "expected masks in all of test, train or in none" in _refused(mixed, tmp_path)


def test_pictures_of_another_size_are_kept_as_they_are(tmp_path: Path) -> None:
    root = _folder_of_classes(tmp_path / "pets")
    Image.new("RGB", (9, 8), (7, 8, 9)).save(root / "dog" / "3.png")
    target = convert(root, tmp_path / "pets.zarr")
    store = zarr.open_group(target, mode="r")
    assert sorted(store["samples"].group_keys()) == [f"{number:05}" for number in range(12)]
    assert store["samples/00009/image"].shape == (8, 9, 3)
    assert store["samples/00009/image"].metadata.dimension_names == ("y", "x", "channel")
    assert store["samples/00009/image"][0, 0].tolist() == [7, 8, 9]
    assert store["label"][:].tolist() == [0] * 6 + [1] * 6
    assert store["file"][9] == "dog/3.png"


def test_a_missing_library_is_named_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _hdf5(tmp_path / "a", *_arrays("classification"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert 'needs h5py, which is not installed: pip install "menndl_dask[formats]"' in _refused(source, tmp_path)


def test_values_that_cannot_be_read_leave_nothing_behind(tmp_path: Path) -> None:
    images, labels = _arrays("classification")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", data=images, chunks=(1, 8, 6, 2), compression="gzip")
        file["label"] = labels
        where = file["image"].id.get_chunk_info(50).byte_offset
    whole = bytearray((tmp_path / "a.h5").read_bytes())
    whole[where : where + 20] = bytes(20)
    (tmp_path / "a.h5").write_bytes(bytes(whole))
    assert "a.h5: cannot be read as HDF5, array image: " in _refused(tmp_path / "a.h5", tmp_path)


def test_a_target_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = _npz(tmp_path / "a", *_arrays("classification"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out\.zarr: cannot be written: "):
        convert(source, tmp_path / "file" / "out.zarr")


def test_reading_goes_sample_by_sample_where_the_format_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = _arrays("classification")
    source = _hdf5(tmp_path / "a", images, labels)
    most = 0
    read = h5py.Dataset.__getitem__

    def watched(self: h5py.Dataset, index: Any, **options: Any) -> Any:
        nonlocal most
        values = read(self, index, **options)
        most = max(most, len(values) if self.name == "/image" else 0)
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    convert(source, tmp_path / "a.zarr", chunk=2)
    assert most == 16
