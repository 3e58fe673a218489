"""What is wrong with a data set is said in one line that starts with its path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from menndl_dask.data import dataset
from menndl_dask.data.data import open_problem
from menndl_dask.data.dataset import open_dataset
from menndl_dask.data.store.variable import BLOCK_BYTES, blocks
from menndl_dask.errors import DataError
from tests import stores


def _message(path: Path | str, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        open_problem(path, **settings)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def _labels(values: object, **attributes: object) -> Callable[[], xr.Dataset]:
    def make() -> xr.Dataset:
        labels = np.asarray(values)
        return stores.dataset(np.zeros((len(labels), 4, 4, 1), dtype="uint8"), labels, **attributes)

    return make


def _changed(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[], xr.Dataset]:
    return lambda: change(stores.classification())


def _images(array: object) -> Callable[[], xr.Dataset]:
    return _changed(lambda data: data.assign(image=array))


_WRONG: dict[str, tuple[Callable[[], xr.Dataset], dict[str, object], str]] = {
    "missing images": (
        _changed(lambda d: d.rename(image="imagse")),
        {},
        r"expected a variable 'image', found none.*did you mean 'imagse'\?",
    ),
    "missing labels": (
        stores.classification,
        {"label": "truth"},
        r"expected a variable 'truth', found none of that name; found image, label",
    ),
    "missing group": (stores.classification, {"group": "scene"}, "expected a variable 'scene', found none"),
    "NaN class": (
        _labels([0.0, 1.0, np.nan, 1.0]),
        {"task": "classification"},
        "label: sample 2: expected a class number from 0 on, got NaN",
    ),
    "only NaN values": (_labels([np.nan]), {}, "label: expected numbers, got only NaN"),
    "mark of a missing value": (
        _changed(lambda d: d.assign(label=("sample", np.array([0.5, 1.5, -9999.0] * 20), {"fill": -9999}))),
        {},
        r"label: sample 2: expected a number, got -9999 \(a missing one is NaN\)",
    ),
    "infinite value": (_labels([0.0, 1.5, np.inf, 1.0]), {}, "label: sample 2: expected a number, got inf"),
    "fraction as class": (
        _labels([0.0, 1.5]),
        {"task": "classification"},
        r"label: sample 1: expected a class number.*got 1\.5",
    ),
    "negative class": (_labels([0, 1, -1]), {}, "label: sample 2: expected a class number from 0 on, got -1"),
    "class beyond the names": (
        _labels([0, 1, 2], classes=["a", "b"]),
        {},
        r"label: sample 2: expected a class number from 0 to 1 \(a, b\), got 2",
    ),
    "pixel out of range": (
        _labels(np.eye(4, dtype=int)[None] * [[[9]]], classes=["a", "b"]),
        {},
        r"label: sample 0, pixel \(0, 0\): expected a class number from 0 to 1 \(a, b\), got 9",
    ),
    "numbers of objects": (
        _labels([0, 5, 70000]),
        {},
        "got 70000; if labels are values to predict, the task is regression",
    ),
    "one class": (_labels([0, 0, 0]), {}, "label: expected at least two classes, got 1"),
    "text as labels": (
        _labels(["a", "b"]),
        {},
        r"label: expected class numbers from 0 on, with their names in .* got values of type",
    ),
    "names that are no list": (
        _labels([0, 1], classes="ab"),
        {},
        "label: attribute 'classes': expected a list of names, got 'ab'",
    ),
    "broken fill": (_labels([0, 1], fill=0.5), {}, r"label: attribute 'fill': expected a whole number, got 0\.5"),
    "labels of other pixels": (
        _changed(lambda d: d.assign(label=(("sample", "row", "col"), np.zeros((60, 8, 5), dtype=int)))),
        {},
        r"label: expected a class number for each sample \(sample\) or .* each pixel of image \(sample, 8, 6\).*"
        r"got int64 of .*8, 5\)",
    ),
    "labels of samples for segmentation": (
        stores.classification,
        {"task": "segmentation"},
        r"label: expected a class number for each pixel of image \(sample, 8, 6\), got int64 of shape \(sample\)",
    ),
    "labels of pixels for classification": (
        stores.segmentation,
        {"task": "classification"},
        r"label: expected a class number for each sample \(sample\), got uint8",
    ),
    "a single label": (
        _changed(lambda d: d.assign(label=3)),
        {},
        "label: expected a label for each sample, got a single value",
    ),
    "images without pixels": (
        _images(("sample", np.zeros(60))),
        {},
        r"image: expected a sample dimension, one to three spatial",
    ),
    "images with many axes": (
        _images((list("sabuv"), np.zeros((60, 1, 1, 1, 1)))),
        {},
        r"one to three spatial ones and optionally channels, got \(s, a, b, u, v\)",
    ),
    "empty images": (
        _images((("sample", "y", "x"), np.zeros((60, 0, 4)))),
        {},
        r"image: expected at least one pixel, got shape \(60, 0, 4\)",
    ),
    "text as images": (
        _images((("sample", "y", "x"), np.full((60, 2, 2), "a"))),
        {},
        "image: expected numbers, got values of type",
    ),
    "more images than labels": (
        _changed(lambda d: d.assign(image=(("picture", "y", "x"), np.zeros((61, 4, 4))))),
        {},
        "image: expected 60 samples as in label, got 61",
    ),
    "views of other ranks": (
        _changed(lambda d: d.assign(line=(("sample", "x"), np.zeros((60, 6))))),
        {"inputs": ("image", "line")},
        r"line: expected as many spatial axes as in image \(y, x, channel\), got \(x\)",
    ),
    "infinite pixel": (
        _images((("sample", "y", "x"), np.full((60, 2, 2), np.inf))),
        {},
        "image: expected numbers in the training split, got only NaN",
    ),
    "only NaN": (
        _images((("sample", "y", "x", "channel"), np.full((60, 2, 2, 2), np.nan))),
        {},
        "image: channel 0: expected numbers in the training split, got only NaN",
    ),
    "unknown split": (
        lambda: stores.with_split(stores.classification(), "train", "val", "test"),
        {},
        r"split: sample 1: expected train, validation, test, got 'val'; did you mean 'validation'\?",
    ),
    "no training samples": (
        lambda: stores.with_split(stores.classification(), "test", "validation"),
        {},
        "split: expected samples of 'train', got none",
    ),
    "too few samples": (_labels([0, 1]), {}, "split: expected at least 3 samples for train, validation, test, got 2"),
    "too few groups": (
        _changed(lambda d: d.assign_coords(scene=("sample", np.arange(60) % 2))),
        {"group": "scene"},
        "split: expected at least 3 groups for train, validation, test, got 2",
    ),
    "split of another shape": (
        _changed(lambda d: d.assign(split=(("a", "b"), np.zeros((2, 2))))),
        {},
        r"split: expected one value for each of 60 samples, got shape \(2, 2\)",
    ),
}


@pytest.mark.parametrize("name", _WRONG)
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_what_is_wrong_is_one_line_with_variable_expected_and_got(name: str, tmp_path: Path) -> None:
    make, settings, message = _WRONG[name]
    data = make()
    path = tmp_path / "data.zarr"
    data.to_zarr(path, zarr_format=3, consolidated=False)
    assert re.search(message, _message(path, **settings))


def test_nothing_there_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    stores.write(stores.classification(), tmp_path / "images.zarr")
    message = _message(tmp_path / "image.zarr")
    assert message == "expected a Zarr store, found no such directory; did you mean 'images.zarr'?"
    assert "found no such directory" in _message(tmp_path / "nowhere" / "image.zarr")


def test_what_is_not_a_store_is_told(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    file.touch()
    assert _message(file) == f"expected a Zarr store, got a file; convert it: menndl convert {file} images.zarr"
    got = "got a directory without zarr.json or .zgroup"
    command = f"menndl convert {tmp_path} {tmp_path.name}.zarr"
    assert _message(tmp_path) == f"expected a Zarr store, {got}; convert images of other formats: {command}"


def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    path = stores.write(stores.classification(), tmp_path / "data.zarr")
    (path / "label" / "c" / "0").write_bytes(b"no chunk")
    assert re.match("label: samples 0 to 59 cannot be read: ", _message(path))
    (path / "zarr.json").write_text("{", encoding="utf-8")
    assert _message(path).startswith("cannot be read as Zarr: ")


@pytest.mark.parametrize("width", [8, 6])
def test_two_dimensions_of_one_name_are_refused_without_a_warning(width: int, tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.zarr")
    group.create_array("image", shape=(4, 8, width), dtype="u1", dimension_names=("sample", "x", "x"))
    group.create_array("label", shape=(4,), dtype="u1", dimension_names=("sample",))
    assert _message(tmp_path / "data.zarr") == "image: expected dimensions of different names, got (sample, x, x)"


def test_a_store_of_unnamed_dimensions_is_told(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.zarr")
    group.create_array("image", shape=(4, 3, 3), dtype="u1")
    assert _message(tmp_path / "data.zarr").startswith(
        "image: expected named dimensions such as (sample, y, x, channel)"
    )


def test_labels_and_images_of_different_length_are_told(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.zarr")
    group.create_array("image", shape=(4, 3, 3), dtype="u1", dimension_names=("sample", "y", "x"))
    group.create_array("label", shape=(5,), dtype="u1", dimension_names=("sample",))
    message = _message(tmp_path / "data.zarr")
    assert message == "dimension sample: expected equal lengths in all variables, got 4 in image, 5 in label"


def test_a_store_that_xarray_alone_cannot_read_is_told(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.zarr")
    array = group.create_array("label", shape=(5,), dtype="i4", dimension_names=("sample",))
    group.create_array("time", shape=(5,), dtype="i4", dimension_names=("sample",)).attrs["units"] = "days since never"
    array[:] = 1
    assert _message(tmp_path / "data.zarr").startswith("cannot be read as Zarr: ValueError: ")


def test_a_url_is_opened_too() -> None:
    assert "cannot be read as Zarr" in _message("memory://nothing/there.zarr")


def test_blocks_are_whole_chunks_and_cover_every_sample_once(tmp_path: Path) -> None:
    path = stores.write(stores.classification(), tmp_path / "data.zarr", chunk=7)
    view = open_dataset(str(path), ("image",), "label").views[0]
    assert view.chunk == 7
    assert list(blocks(view)) == [(0, 60, None)]


def test_the_fingerprint_of_a_large_sample_is_that_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stores.write(stores.large_segmentation(3, 60), tmp_path / "data.zarr", chunk=1)
    data = open_dataset(str(path), ("image",), "label")
    whole = data.fingerprint()
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 1000)
    assert data.fingerprint() == whole


def test_samples_larger_than_a_block_are_read_in_parts_of_whole_chunks(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.zarr")
    side = 2**14
    group.create_array(
        "image", shape=(3, side, side), chunks=(1, 512, 512), dtype="u1", dimension_names=("sample", "y", "x")
    )
    group.create_array("label", shape=(3,), dtype="u1", dimension_names=("sample",))
    view = open_dataset(str(tmp_path / "data.zarr"), ("image",), "label").views[0]
    found = list(blocks(view))
    assert [block.start for block in found] == np.repeat([0, 1, 2], len(found) // 3).tolist()
    covered = np.zeros((side, side), dtype="u1")
    for _, _, part in found[: len(found) // 3]:
        assert part is not None
        assert all(edge % 512 == 0 for piece in part for edge in (piece.start, piece.stop))
        assert covered[part].size <= BLOCK_BYTES
        covered[part] += 1
    assert covered.min() == covered.max() == 1
