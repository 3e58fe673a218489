"""Scores of predictions for images with labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from menndl_dask.data.data import open_problem
from menndl_dask.data.labels import splits
from menndl_dask.errors import DataError
from menndl_dask.metric import values_of
from menndl_dask.prediction.score import has_labels, look_at, score
from menndl_dask.report.pictures.prediction_page import write_prediction_page
from tests import stores
from tests.problems import problem

pytestmark = pytest.mark.filterwarnings("ignore:.*Zarr V3 specification")
PIXELS = problem("segmentation", ((4, 4, 1),), outputs=2, ignore=7)


def write(path: Path, variables: dict[str, Any], group: str | None = None, **coords: Any) -> Path:
    xr.Dataset(variables, coords).to_zarr(path, group=group, mode="a", consolidated=False, zarr_format=3)
    return path


def labels_and_predictions() -> tuple[np.ndarray, np.ndarray]:
    """Return labels and predictions of three images: all right, half of class 1 found, and one right pixel counted."""
    labels = np.zeros((3, 4, 5), "uint8")
    labels[:, 0] = 1
    found = labels.copy()
    found[1, 0, :2], labels[1, 0, 4] = 0, 7  # 2 of 4 pixels of class 1 are found, one is ignored
    labels[2], found[2], labels[2, 3, 3], found[2, 3, 3] = 0, 255, 1, 1
    return labels, found


def test_images_are_scored_one_by_one_and_together(tmp_path: Path) -> None:
    labels, found = labels_and_predictions()
    dims = ("sample", "y", "x")
    source = write(tmp_path / "data.zarr", {"image": (dims, labels * 1.0), "label": (dims, labels)})
    (whole,) = score(write(tmp_path / "found.zarr", {"prediction": (dims, found)}), source, PIXELS)
    second = (2 / 4 + 15 / 17) / 2
    assert whole.of_images == pytest.approx((1.0, second, 1.0)) and whole.images == 3
    assert whole.value == pytest.approx(((15 + 15) / 32 + (5 + 2 + 1) / 10) / 2)
    assert str(whole).startswith("mean IoU of 3 images: 0.8688; of each image: mean 0.8971, from 0.6912 to 1.0000")


def test_every_split_of_images_of_unequal_size_has_its_score(tmp_path: Path) -> None:
    labels, found = labels_and_predictions()
    splits = np.array(["train", "test", "test"], dtype=object)
    source, target = tmp_path / "data.zarr", tmp_path / "found.zarr"
    write(source, {}, split=("sample", splits))
    for number in range(3):
        part = slice(0, 4 - number % 2)
        truth = labels[number, part]
        values = {"image": (("y", "x"), truth * 1.0), "label": (("y", "x"), truth)}
        write(source, values, f"samples/{number:05d}")
        probable = np.stack([found[number, part] == 0, found[number, part] == 1], axis=-1).astype("float32")
        probable[found[number, part] == 255] = np.nan
        write(target, {"probability": (("y", "x", "class"), probable)}, f"samples/{number:05d}")
    train, test = score(target, source, PIXELS)
    assert (train.split, train.value, train.of_images) == ("train", 1.0, (1.0,))
    assert test.split == "test" and test.images == 2 and test.of_images[1] == 1.0
    assert str(train) == "train: mean IoU of 1 image: 1.0000"


def test_images_that_the_network_was_trained_with_are_scored_by_the_splits_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "spots.zarr"
    of = open_problem(stores.write(stores.segmentation(20), path))
    truth = xr.open_zarr(path, consolidated=False)["label"].values
    target = write(tmp_path / "found.zarr", {"prediction": (("sample", "y", "x"), truth % 255)})
    found = [(each.split, each.images) for each in score(target, path, of)]
    assert found == [("train", 14), ("validation", 3), ("test", 3)]  # whatever comes first in the images
    examples, sums = look_at(target, path, of)  # those that the network was not trained with
    assert str(examples["split"]) == "test"
    assert sorted(examples["source"].tolist()) == sorted(splits(of)["test"].tolist())
    assert len(sums) == 3
    path.rename(tmp_path / "copy.zarr")  # elsewhere they are other images
    assert [each.split for each in score(target, tmp_path / "copy.zarr", of)] == [""]


def test_labels_are_seen_where_they_are(tmp_path: Path) -> None:
    images = {"image": (("sample", "y", "x"), np.zeros((1, 4, 4)))}
    labelled = {**images, "label": ("sample", [1])}
    assert not has_labels(write(tmp_path / "images.zarr", images), "label")
    assert has_labels(write(tmp_path / "labelled.zarr", labelled), "label")
    assert has_labels(stores.unequal(tmp_path / "unequal.zarr", 2)[0], "label")
    zarr.create_array(tmp_path / "bare.zarr", data=np.zeros(3))
    assert not has_labels(tmp_path / "bare.zarr", "label")


def test_classes_and_values_of_whole_images_are_scored_together(tmp_path: Path) -> None:
    images = (("sample", "y", "x"), np.zeros((4, 2, 2)))
    source = write(tmp_path / "classes.zarr", {"image": images, "label": ("sample", [0, 1, 2, 2])})
    target = write(tmp_path / "found.zarr", {"prediction": ("sample", np.array([0, 1, 2, 0], "uint8"))})
    (found,) = score(target, source, problem(metric="tests.own_functions:anything"))
    assert str(found) == "balanced accuracy of 4 images: 0.8333"
    source = write(tmp_path / "values.zarr", {"image": images, "label": (("sample", "value"), [[1.0], [2], [3], [4]])})
    target = write(tmp_path / "numbers.zarr", {"prediction": (("sample", "value"), [[1.0], [2], [3], [4]])})
    assert score(target, source, problem("regression", outputs=1))[0].value == 1.0


def test_labels_of_other_classes_are_not_scored(tmp_path: Path) -> None:
    dims = ("sample", "y", "x")
    labels = (dims, np.zeros((1, 4, 4), "uint8"), {"classes": ["sky", "sea"]})
    source = write(tmp_path / "data.zarr", {"image": (dims, np.zeros((1, 4, 4))), "label": labels})
    target = write(tmp_path / "found.zarr", {"prediction": (dims, np.zeros((1, 4, 3), "uint8"))})
    with pytest.raises(DataError, match="label: expected the classes of the network, class 0, class 1, got sky, sea"):
        score(target, source, PIXELS)
    same = replace(PIXELS, facts=replace(PIXELS.facts, classes=("sky", "sea")))
    message = r"sample 0: expected a prediction for each label, .* of shape \(4, 4\), predictions of shape \(4, 3, 2\)"
    with pytest.raises(DataError, match=message):
        score(target, source, same)


def test_predictions_are_kept_to_be_looked_at(tmp_path: Path) -> None:
    dims = ("sample", "y", "x")
    truth = np.random.default_rng(0).integers(0, 2, (5, 12, 10)).astype("uint8")
    said = truth.copy()
    said[3] = 1 - said[3]
    truth[0, :2] = 255
    source = write(tmp_path / "a.zarr", {"image": (dims, truth * 1.0), "label": (dims, truth, {"fill": 255})})
    target = write(tmp_path / "found.zarr", {"prediction": (dims, said)})
    examples, sums = look_at(target, source, PIXELS)
    assert examples["source"][examples["place"] == "worst"].tolist() == [3]
    assert sums.shape == (5, 3, 2)
    assert values_of("mean_iou", sums.sum(axis=0)) == pytest.approx(score(target, source, PIXELS)[0].value)
    assert examples["confusion"].sum() == 5 * 120 - 20
    page = write_prediction_page(tmp_path / "page.html", "<img src=x>", PIXELS, examples, sums).read_text("utf-8")
    assert "Worst: test sample 3" not in page  # these may be images that the network was trained with
    assert "Worst: sample 3, mean IoU 0.0000" in page
    assert "Can its confidence be trusted?" not in page  # only the classes are known
    assert "<img src=x" not in page


def test_values_are_kept_to_be_looked_at(tmp_path: Path) -> None:
    images = (("sample", "y", "x"), np.zeros((4, 2, 2)))
    source = write(tmp_path / "values.zarr", {"image": images, "label": (("sample", "value"), [[1.0], [2], [3], [4]])})
    target = write(tmp_path / "numbers.zarr", {"prediction": (("sample", "value"), [[1.0], [2], [3], [8]])})
    examples, _ = look_at(target, source, problem("regression", outputs=1))
    assert examples["guess"].tolist() == [[1.0], [2.0], [3.0], [8.0]]
    assert examples["source"][examples["place"] == "worst"].tolist() == [3]
