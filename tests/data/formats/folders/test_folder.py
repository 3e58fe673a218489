"""Folders as people keep them: what is taken, what is left out, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from PIL import Image

from menndl_dask.data.formats.arrangement.summary import Converted
from menndl_dask.data.formats.conversion import write_converted
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.errors import DataError

RNG = np.random.default_rng(0)


def _draw(root: Path, *names: str, value: int | None = None, shape: tuple[int, ...] = (6, 8)) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = RNG.integers(0, 200, shape) if value is None else np.full(shape, value)
        Image.fromarray(values.astype("uint8")).save(root / name)
    return root


def _converted(root: Path, tmp_path: Path, **options: Any) -> tuple[xr.Dataset, str, Converted]:
    done = write_converted(root, tmp_path / "out.zarr", Options(**options))
    data = xr.open_zarr(done.path, chunks=None, consolidated=False, mask_and_scale=False)
    return data, " | ".join(line.strip() for line in done.lines), done


def _refused(root: Path, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        write_converted(root, tmp_path / "out.zarr", Options(**options))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "out"))] == []
    return str(caught.value)


def test_numbered_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10, 11):
        _draw(tmp_path / "a", f"cell{number}.png", value=number)
    data, _, _ = _converted(tmp_path / "a", tmp_path)
    assert data.image.values[:, 0, 0].tolist() == [1, 2, 10, 11]


def test_a_table_labels_the_files_that_it_names(tmp_path: Path) -> None:
    for number in range(1, 13):
        _draw(tmp_path / "a", f"{number}.png", value=number)
    (tmp_path / "t.csv").write_text("picture;grade\n" + "".join(f"{n};{n * 10}\n" for n in (3, 12, 1, *range(4, 12))))
    data, said, _ = _converted(tmp_path / "a", tmp_path, label=str(tmp_path / "t.csv"))
    assert (data.label.values == data.image.values[:, 0, 0].astype(int) * 10).all()
    assert "left out: 1 image without a row (2.png)" in said
    assert "11 of 12 images have a row in t.csv" in said


def test_folders_say_nothing_of_classes_where_a_table_does(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", *(f"batch{n // 3}/{n}.png" for n in range(9)))
    (tmp_path / "t.csv").write_text("label\n" + "ill\nwell\nwell\n" * 3)
    data, said, done = _converted(root, tmp_path, label=str(tmp_path / "t.csv"))
    assert data.label.attrs["classes"] == ["ill", "well"]
    assert sorted(set(data.folder.values.tolist())) == ["batch0", "batch1", "batch2"]
    assert "rows are taken in the order of the files: batch0/0.png, " in said
    assert done.next.endswith("--group folder")


def test_images_of_a_class_may_lie_deeper(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "cat/1.png", "dog/monday/1.png", "dog/tuesday/1.png", "stray.png", "dog/.hidden.png")
    (root / "readme.md").write_text("-")
    data, said, _ = _converted(root, tmp_path)
    assert data.label.values.tolist() == [0, 1, 1]
    assert data.folder.values.tolist() == ["cat", "dog/monday", "dog/tuesday"]
    assert "3 of 4 files" in said
    assert "1 image beside the folders of the classes (stray.png)" in said
    assert "1 file of other kinds (readme.md)" in said


def test_a_folder_beside_the_splits_is_told(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", *(f"{part}/{kind}/1.png" for part in ("train", "val", "extra") for kind in "ab"))
    data, said, _ = _converted(root, tmp_path)
    assert data.split.values.tolist() == ["train", "train", "validation", "validation"]
    assert "4 of 6 files" in said
    assert "2 images of extra (beside train, val)" in said


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    data, said, _ = _converted(_draw(tmp_path / "a", "control/1.png", "test/1.png"), tmp_path)
    assert data.label.attrs["classes"] == ["control", "test"]
    assert "test is a class, no split, as there is no folder train" in said


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}.png", "masks/{}.png"),
        ("images/s/{}.png", "masks/s/{}.png"),
        ("images/{}_img.png", "labels/{}_mask.png"),
        ("{}.png", "{}_seg.png"),
        ("image_{}.png", "label_{}.png"),
        ("{}.png", "masks/{}.png"),
    ],
)
def test_masks_are_found_by_name(images: str, masks: str, tmp_path: Path) -> None:
    for number in range(3):
        _draw(tmp_path / "a", images.format(number), value=number)
        _draw(tmp_path / "a", masks.format(number), value=number)
    data, _, _ = _converted(tmp_path / "a", tmp_path)
    np.testing.assert_array_equal(data.label.values, data.image.values)
    assert len(data.sample) == 3


def test_masks_of_another_folder_can_be_named(tmp_path: Path) -> None:
    for number in range(3):
        _draw(tmp_path / "a", f"{number}.png", value=number)
        _draw(tmp_path / "drawn", f"{number}_mask.png", value=number)
    data, _, _ = _converted(tmp_path / "a", tmp_path, label=str(tmp_path / "drawn"))
    np.testing.assert_array_equal(data.label.values, data.image.values)


def test_masks_without_an_image_are_told_and_two_of_one_image_refused(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "images/1.png", "masks/1.png", "masks/2.png", value=1)
    _, said, done = _converted(root, tmp_path)
    assert "1 mask without an image (2.png)" in said
    zarr.open_group(done.path, mode="r")
    done.path.rename(tmp_path / "first.zarr")
    _draw(root, "masks/1.bmp", value=0)
    assert _refused(root, tmp_path).endswith("images/1.png: expected one mask in masks, found 1.bmp and 1.png")
    _draw(tmp_path / "b", "images/1.png", "images/1.bmp", "masks/1.png")
    assert "expected one image of this mask, found 1.bmp and 1.png" in _refused(tmp_path / "b", tmp_path)


def test_axes_of_tiff_files_are_those_that_the_files_say(tmp_path: Path) -> None:
    for number in range(3):
        for name, axes, shape in (("images", "ZCYX", (4, 2, 10, 12)), ("masks", "ZYX", (4, 10, 12))):
            (tmp_path / "a" / name).mkdir(parents=True, exist_ok=True)
            values = np.full(shape, number, dtype="uint8")
            path = tmp_path / "a" / name / f"{number}.tif"
            tifffile.imwrite(path, values, imagej=True, metadata={"axes": axes})
    data, _, _ = _converted(tmp_path / "a", tmp_path)
    assert data.image.dims == ("sample", "z", "channel", "y", "x")
    assert data.label.dims == ("sample", "z", "y", "x")


def test_pages_of_files_in_a_folder_are_planes_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "a" / f"{number}.tif", np.zeros((5, 10, 12), "u1"), photometric="minisblack")
    data, said, done = _converted(tmp_path / "a", tmp_path)
    assert data.image.dims == ("sample", "z", "y", "x")
    assert "the pages of a file (page) are taken to be the planes of a volume (z)" in said
    assert done.next.startswith("menndl predict")


def test_masks_and_images_of_unequal_size_are_kept(tmp_path: Path) -> None:
    for number in range(3):
        _draw(tmp_path / "a", f"images/{number}.png", shape=(20 + number, 30))
        _draw(tmp_path / "a", f"masks/{number}.png", shape=(20 + number, 30), value=number % 2 * 255)
    done = write_converted(tmp_path / "a", tmp_path / "out.zarr", Options(classes=("ground", "cell")))
    store = zarr.open_group(done.path, mode="r")
    assert store["samples/00002/image"].shape == store["samples/00002/label"].shape == (22, 30)
    assert store["samples/00001/label"].attrs["classes"] == ["ground", "cell"]
    assert (store["samples/00001/label"][:] == 1).all()
    assert store["file"][:].tolist() == [f"images/{number}.png" for number in range(3)]
    done.path.rename(tmp_path / "first.zarr")
    _draw(tmp_path / "a", "masks/1.png", shape=(20, 30))
    assert "images/1.png: expected a mask of the image's size (21, 30), got (20, 30)" in _refused(
        tmp_path / "a", tmp_path
    )


def test_pictures_with_and_without_colours_are_read_alike(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "x/1.png", "y/2.png", value=7)
    _draw(root, "x/3.png", shape=(6, 8, 3))
    data, said, _ = _converted(root, tmp_path)
    assert data.image.shape == (3, 6, 8, 3)
    assert data.image.values[0, 0, 0].tolist() == [7, 7, 7]
    assert "2 of 3 pictures (L) are read as RGB" in said


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_damaged_picture_is_named(place: str, tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "x/0.png", "x/1.png", "y/2.png", "y/3.png", shape=(80, 80))
    broken = root / ("x/0.png" if place == "first" else "y/3.png")
    broken.write_bytes(broken.read_bytes()[:2000])
    assert f"{broken}: cannot be read as an image: " in _refused(root, tmp_path)
    broken.write_bytes(b"<html>not found</html>")
    assert f"{broken}: cannot be read as an image: " in _refused(root, tmp_path)


def test_a_picture_may_have_any_number_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # twice as many are an error of Pillow
    data, _, _ = _converted(_draw(tmp_path / "a", "x/0.png", "y/1.png"), tmp_path)
    assert data.image.shape == (2, 6, 8)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_files_with_several_arrays_are_volumes_with_their_labels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, size in (("em_train", (4, 20, 30)), ("em_test", (5, 20, 30))):
        objects = RNG.integers(0, 99, size)
        edges = (objects % 5 == 0).astype("uint8")
        np.savez_compressed(
            tmp_path / "a" / f"{name}.npz", image=objects.astype("uint8"), objects=objects, seg=objects, boundary=edges
        )
    (tmp_path / "a" / "LICENCE").write_text("-")
    done = write_converted(tmp_path / "a", tmp_path / "out.zarr")
    store = zarr.open_group(done.path, mode="r")
    said = " | ".join(line.strip() for line in done.lines)
    assert store["split"][:].tolist() == ["test", "train"]
    assert store["samples/00000/image"].shape == (5, 20, 30)
    assert store["samples/00001/label"].metadata.dimension_names == ("z", "y", "x")
    assert "boundary, as seg has 99 values: objects or values, no classes" in said
    assert "each file is one image" in said
    assert "LICENCE" in said


def test_files_that_hold_many_samples_are_joined(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, number in (("train", 6), ("test", 3)):
        labels = np.arange(number) % 2
        np.savez(tmp_path / "a" / f"{name}.npz", image=np.full((number, 5, 6), number), label=labels)
    data, said, _ = _converted(tmp_path / "a", tmp_path)
    assert data.image.values[:, 0, 0].tolist() == [3] * 3 + [6] * 6
    assert data.split.values.tolist() == ["test"] * 3 + ["train"] * 6
    assert data.label.values.tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert "its first axis is the samples" in said


def test_masks_are_found_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    root = _draw(_draw(tmp_path / "a", "Images/Cell_1.PNG", "Images/Cell_2.PNG"), "Masks/cell_1_mask.png", value=0)
    _draw(root, "Masks/cell_2_mask.png", value=1)
    data, said, _ = _converted(root, tmp_path)
    assert data.label.values[:, 0, 0].tolist() == [0, 1]
    assert "4 of 4 files" in said


def test_images_without_a_mask_are_counted(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "images/1.png", "images/2.png", "images/3.png", "masks/2.png", value=0)
    assert "images/1.png: expected a mask masks/1.*, found none for 2 of 3 images; put" in _refused(root, tmp_path)
    other = _draw(tmp_path / "b", "images/1.png", "masks/one.png", value=0)
    assert _refused(other, tmp_path).endswith("found none for all 1 image; masks there: one.png")


def test_outlines_are_said_not_to_be_read(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "images/1.jpg", "images/2.jpg")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text("{}")
    assert "found instances.json: outlines and boxes (COCO, LabelMe" in _refused(root, tmp_path)
    beside = _draw(tmp_path / "b", "1.jpg", "2.jpg")
    (beside / "1.json").write_text("{}")
    assert "outlines and boxes (COCO, LabelMe, YOLO, VOC) are not read" in _converted(beside, tmp_path)[1]


def test_jpeg_masks_of_several_classes_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "a"
    for number in range(2):
        _draw(root, f"images/{number}.jpg", shape=(40, 40))
        squares = np.kron(RNG.integers(0, 3, (5, 5)) * 127, np.ones((8, 8)))
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(squares.astype("uint8")).save(root / "masks" / f"{number}.jpg")
    assert "expected masks whose values are exact, got JPEG files with" in _refused(root, tmp_path)


def test_opacity_is_told(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "1.png", "2.png", shape=(6, 8, 4))
    assert "the fourth channel of the pictures is opacity" in _converted(root, tmp_path)[1]


def test_several_tables_beside_images_are_told(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", "img/1.png", "img/2.png")
    (root / "train.csv").write_text("file,label\n1.png,0\n")
    (root / "old.csv").write_text("file,label\n1.png,0\n")
    assert "tables lie there: with --label, such as --label" in _converted(root, tmp_path)[1]


def test_different_sizes_of_pixels_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in (1, 2):
        values = RNG.integers(0, 99, (4, 5, 6)).astype("uint8")
        size = {"axes": "ZYX", "spacing": 2.0 * number, "unit": "um"}
        tifffile.imwrite(tmp_path / "a" / f"{number}.tif", values, imagej=True, metadata=size)
    assert "the sizes of pixels, which differ between 1.tif and 2.tif" in _converted(tmp_path / "a", tmp_path)[1]


def test_folders_and_links_without_an_image_are_told(tmp_path: Path) -> None:
    root = _draw(tmp_path / "a", *(f"{kind}/{n}.png" for kind in "ab" for n in range(2)))
    (root / "c").mkdir()
    (root / "a" / "9.png").symlink_to(root / "gone.png")
    _, said, _ = _converted(root, tmp_path)
    assert "c (no images in it)" in said and "1 link that leads to no file (9.png)" in said


def test_further_frames_and_pages_of_a_file_are_told(tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    frames = [Image.fromarray(RNG.integers(0, 200, (6, 8)).astype("uint8")) for _ in range(3)]
    for number in range(2):
        frames[0].save(root / f"{number}.gif", save_all=True, append_images=frames[1:])
    _, said, done = _converted(root, tmp_path)
    assert "all frames but the first of 2 pictures, such as 0.gif" in said
    done.path.rename(tmp_path / "first")
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        file.write(np.zeros((30, 40), "uint8"), photometric="minisblack")
        file.write(np.zeros((3, 4), "uint8"), photometric="minisblack")
    (tmp_path / "b").mkdir()
    (tmp_path / "scan.tif").rename(tmp_path / "b" / "scan.tif")
    _, said, _ = _converted(tmp_path / "b", tmp_path)
    assert "further arrays of 1 file, such as series1 of scan.tif" in said


def test_photographs_are_turned_as_they_are_seen(tmp_path: Path) -> None:
    seen = np.zeros((16, 32, 3), "uint8")
    seen[:, :16] = 200
    orientation = Image.Exif()
    orientation[0x0112] = 6  # the sensor's picture is to be turned by 90 degrees clockwise
    (tmp_path / "a").mkdir()
    for number in range(2):
        Image.fromarray(np.rot90(seen)).save(tmp_path / "a" / f"{number}.jpg", exif=orientation, quality=95)
    data, said, done = _converted(tmp_path / "a", tmp_path)
    assert "pictures are turned as their EXIF orientation says" in said
    assert np.abs(data.image.values[0].astype(int) - seen).max() < 20
    done.path.rename(tmp_path / "first")
    data, said, _ = _converted(tmp_path / "a" / "0.jpg", tmp_path)
    assert "turned" in said and data.image.shape == seen.shape


def test_black_and_white_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, photometric in (("0", "minisblack"), ("1", "miniswhite")):
        tifffile.imwrite(tmp_path / "a" / f"{name}.tif", np.zeros((6, 8), "uint8"), photometric=photometric)
    assert "1.tif: expected 0 to be black or white as in 0.tif, got the opposite" in _refused(tmp_path / "a", tmp_path)
