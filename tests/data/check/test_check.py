"""The data check: what it reports is right, and what is wrong with the data is said in plain words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.check.check import check_data
from menndl_dask.data.check.quick_predictors import Score
from menndl_dask.data.check.report import DataReport
from menndl_dask.data.check.warnings import warn
from menndl_dask.data.data import open_problem
from tests import stores


def _check(data: xr.Dataset, tmp_path: Path, **settings: Any) -> DataReport:
    path = stores.write(data, tmp_path / "data.zarr")
    return check_data(open_problem(path, **settings), seconds=0.0)


def _said(report: DataReport) -> str:
    return "\n".join(report.warnings)


def test_sound_data_has_little_to_look_at(tmp_path: Path) -> None:
    report = _check(stores.classification(samples=600), tmp_path)
    assert [line for line in report.warnings if "nearly perfect" not in line] == []
    text = report.text()
    assert "images 'image': 600 samples of 8 y × 6 x × 2 channel, float32, 7 per chunk" in text
    assert "(all drawn with seed 0)" in text
    assert "round" in text


def test_neighbours_are_said_to_be_split_in_blocks(tmp_path: Path) -> None:
    sections = stores.classification()
    sections.attrs["consecutive"] = True
    assert "(all blocks of neighbours)" in _check(sections, tmp_path).text()


def test_data_without_flaws_is_told_so(tmp_path: Path) -> None:
    data = stores.classification(samples=600)
    blurred = np.random.default_rng(0).normal(0, 1, (600, 1, 1, 1))
    data["image"] = (data.image + blurred).astype("float32")
    report = _check(data, tmp_path)
    assert report.warnings == ()
    assert report.text().endswith("no warnings")


def test_one_class_in_the_training_split_leaves_nothing_to_fit(tmp_path: Path) -> None:
    data = stores.with_split(stores.classification(), "train", "validation", "test")
    report = _check(data, tmp_path)
    assert {score.name: score.value for score in report.scores}["linear"] is None
    assert "No sample of the train split has square, line: networks cannot learn it." in _said(report)
    assert "unknown" in report.text()


def test_the_numbers_are_those_of_all_samples(tmp_path: Path) -> None:
    data = stores.classification()
    data.image.values[3, 0, 0, 1] = np.nan
    report = _check(data, tmp_path)
    first, second = report.views[0].channels
    assert (first.missing, second.missing) == (0, 1)
    assert second.mean == pytest.approx(float(np.nanmean(data.image.values[..., 1])), rel=1e-5)
    assert (first.minimum, first.maximum) == (data.image.values[..., 0].min(), data.image.values[..., 0].max())
    assert [sum(c.counts) for c in report.classes] == [20, 20, 20]
    assert "channel 1 has missing values (NaN, up to 0.03% of a channel)" in _said(report)


@pytest.mark.parametrize("kind", ["classification", "segmentation", "regression"])
def test_quick_predictors_beat_the_constant_one_where_there_is_something_to_learn(kind: str, tmp_path: Path) -> None:
    report = _check(getattr(stores, kind)(), tmp_path)
    scores = {score.name: score.value for score in report.scores}
    constant = scores.pop("constant")
    assert constant is not None
    assert set(scores) == {"linear", "forest"}
    assert all(value is not None and value > constant + 0.2 for value in scores.values())
    assert "no better than the constant one" not in _said(report)


def test_one_dimensional_and_volume_images_are_inspected_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((12, 6, 7, 8)) < 0.3).astype("uint8")
    images = labels + rng.normal(0, 0.1, labels.shape)
    dims = ("sample", "z", "y", "x")
    volume = _check(xr.Dataset({"image": (dims, images), "label": (dims, labels)}), tmp_path)
    assert volume.scores[2].value is not None
    assert volume.scores[2].value > 0.9
    line = xr.Dataset({"image": (("sample", "x"), images[:, 0, 0]), "label": (("sample",), np.arange(12) % 2)})
    report = check_data(open_problem(stores.write(line, tmp_path / "line.zarr")), seconds=0)
    assert report.views[0].variable.shape == (8,)


def test_labels_in_another_order_than_the_images_are_noticed(tmp_path: Path) -> None:
    data = stores.classification(samples=300)
    data.label.values[:] = np.random.default_rng(1).permutation(data.label.values)
    assert "images and labels are not in the same order" in _said(_check(data, tmp_path))


def test_a_small_validation_split_is_said_to_be_too_small_and_not_that_nothing_is_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    kinds = np.arange(60) % 2
    images = rng.normal(2.0 * kinds[:, None, None, None], 1, (60, 9, 11, 1)).astype("float32")
    report = _check(stores.dataset(images, kinds), tmp_path)
    constant, best = report.scores[0].value, max(score.value or 0.0 for score in report.scores[1:])
    assert constant is not None and best > constant + 0.3
    said = _said(report)
    assert "no better" not in said and "hardly better" not in said
    assert "the validation split is too small to tell" in said
    assert "9 validation samples" in said


@pytest.mark.parametrize(("best", "how"), [(0.51, "hardly better"), (0.5, "no better"), (0.4, "no better")])
def test_a_larger_score_is_never_called_no_better(best: float, how: str, tmp_path: Path) -> None:
    report = _check(stores.classification(samples=600), tmp_path)
    scores = (Score("constant", 0.5, ""), Score("linear", best, ""))
    said = "\n".join(warn(replace(report, scores=scores)))
    assert f"are {how} than the constant one ({best:.3f} against 0.500)" in said


def test_copies_in_two_splits_are_noticed(tmp_path: Path) -> None:
    data = stores.with_split(stores.classification(), "train", "train", "validation", "test")
    data.image.values[2] = data.image.values[1]
    data.image.values[5] = data.image.values[4]
    report = _check(data, tmp_path)
    assert report.duplicates.across == ((1, 2),)
    assert report.duplicates.samples == 2
    assert report.duplicates.conflicting == ((1, 2), (4, 5))
    assert "1 image is in two splits at once (samples 1 and 2)" in _said(report)
    assert "2 images are there twice with different labels (samples 1 and 2, 4 and 5)" in _said(report)


def test_copies_in_one_split_are_mentioned(tmp_path: Path) -> None:
    data = stores.with_split(stores.classification(), "train", "train", "train", "validation", "test", "train")
    data.image.values[6] = data.image.values[0]
    assert "1 sample is a copy of another one in the same split." in _said(_check(data, tmp_path))


def test_groups_in_two_splits_are_noticed(tmp_path: Path) -> None:
    data = stores.with_split(stores.classification(), "train", "train", "validation", "test")
    data = data.assign_coords(scene=("sample", np.arange(60) // 3))
    report = _check(data, tmp_path, group="scene")
    assert len(report.leaking) == 20
    assert "20 groups of 'scene' have samples in more than one split (0, 1, 10, …)" in _said(report)


def test_a_coordinate_that_may_name_groups_is_mentioned(tmp_path: Path) -> None:
    data = stores.classification().assign_coords(scene=("sample", np.arange(60) // 4), id=("sample", np.arange(60)))
    report = _check(data, tmp_path)
    assert report.candidates == ("scene",)
    assert "samples with the same scene are in several splits" in _said(report)
    grouped = check_data(open_problem(tmp_path / "data.zarr", group="scene"), seconds=0)
    assert grouped.candidates == grouped.leaking == ()


def test_outliers_and_constant_channels_are_noticed(tmp_path: Path) -> None:
    data = stores.classification()
    data.image.values[..., 1] = 7
    data.image.values[5, 0, 0, 0] = 1e6
    said = _said(_check(data, tmp_path))
    assert "image: channel 0 has values far outside the usual range" in said
    assert "image: channel 1 has the same value everywhere and can be removed." in said


def test_rare_and_absent_classes_are_noticed(tmp_path: Path) -> None:
    data = stores.classification(samples=150)
    data.label.values[:] = np.r_[np.zeros(140, dtype=int), np.full(10, 1)]
    report = _check(data, tmp_path)
    said = _said(report)
    assert "Fewer than 20 training samples: square (7)" in said
    assert "No sample of the validation split has line: the search cannot measure" in said
    assert "The largest class is 14 times the smallest. The fitness is balanced_accuracy" in said
    by_choice = check_data(open_problem(tmp_path / "data.zarr", metric="accuracy", class_weight="none"), seconds=0)
    assert "The metric accuracy hides rare classes" in _said(by_choice)
    assert "The loss weights classes as given." in _said(by_choice)


def test_simple_predictors_are_scored_on_images_by_chance_though_they_learn_from_those_with_rare_classes(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((164, 8, 8), dtype="uint8")
    label[:10] = label[100:104] = 1  # whole images, and no value tells which
    split = np.repeat(["train", "validation"], [100, 64]).astype(object)
    data = xr.Dataset(
        {
            "image": (("sample", "y", "x", "channel"), rng.normal(size=(164, 8, 8, 1)).astype("float32")),
            "label": (("sample", "y", "x"), label, {"classes": ["common", "rare"]}),
        },
        coords={"split": ("sample", split)},
    )
    path = stores.write(data, tmp_path / "data.zarr")
    report = check_data(open_problem(path, metric="accuracy", class_weight="none"), seconds=0.0)
    values = {score.name: score.value for score in report.scores}
    assert values["linear"] is not None
    assert values["linear"] > 0.8  # 0.94 of all pixels; 0.75 where half of the images had the rare class if possible


def test_few_samples_are_noticed(tmp_path: Path) -> None:
    said = _said(_check(stores.classification(samples=30), tmp_path))
    assert "Only 21 training samples" in said
    assert "one sample is 25.0%" in said
    pixels = check_data(open_problem(stores.write(stores.segmentation(9), tmp_path / "pixels.zarr")), seconds=0)
    assert "Patches show more of large images: --patch" in _said(pixels)
    assert "scores will have a large random error" in _said(pixels)


def test_a_fill_value_that_nobody_named_is_noticed(tmp_path: Path) -> None:
    data = stores.segmentation()
    data.label.attrs.clear()
    assert "Class numbers go up to 255, but most of them do not occur" in _said(_check(data, tmp_path))


def test_ignored_labels_are_counted_and_told(tmp_path: Path) -> None:
    report = _check(stores.segmentation(), tmp_path)
    assert report.ignored == 24
    assert "24 pixels ignored (label 255)" in report.text()
    data = stores.classification()
    data.label.values[:5] = -1
    data.label.attrs["fill"] = -1
    samples = check_data(open_problem(stores.write(data, tmp_path / "samples.zarr")), seconds=0)
    assert samples.ignored == 5
    assert sum(samples.problem.facts.samples) == 55


def test_values_that_never_vary_are_noticed(tmp_path: Path) -> None:
    data = stores.regression()
    data.label.values[:, 1] = 3.0
    report = _check(data, tmp_path)
    assert "label: value 1 is the same in all samples" in _said(report)
    assert "labels 'label': regression targets" in report.text()


def test_class_numbers_that_are_stored_with_a_fraction_are_noticed(tmp_path: Path) -> None:
    data = stores.regression(values=1)
    assert "If they are classes" not in _said(_check(data, tmp_path / "values"))
    data.label.values[:] = np.arange(data.label.size).reshape(data.label.shape) % 3
    counts = data.assign(label=data.label.astype("int16"))  # a user who calls whole numbers values is right
    assert "If they are classes" not in _said(_check(counts, tmp_path / "counts", task="regression"))
    said = _said(_check(data, tmp_path / "classes"))
    assert "label: only 3 different values, all whole numbers" in said
    assert "--task classification" in said


def test_an_error_measure_is_told_as_such(tmp_path: Path) -> None:
    report = _check(stores.regression(values=1), tmp_path, metric="mean_absolute_error")
    assert all(score.value is not None and score.value > 0 for score in report.scores)
    assert "mean_absolute_error, smaller is better" in report.text()
    other = check_data(open_problem(tmp_path / "data.zarr", metric="my:metric"), seconds=0)
    assert [score.value for score in other.scores] == [None, None, None]
    assert "unknown" in other.text()


def test_channels_have_the_names_of_their_coordinate_and_many_are_cut_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = stores.dataset(rng.normal(size=(30, 4, 4, 20)), np.arange(30) % 2)
    data = data.assign_coords(channel=[f"band-{c:02}" for c in range(20)])
    text = _check_named(data, tmp_path).text()
    assert "band-15" in text
    assert "… and 4 more" in text
    assert "band-16" not in text


def _check_named(data: xr.Dataset, tmp_path: Path) -> DataReport:
    data["channel"] = data.channel.astype(object)
    return _check(data, tmp_path)


def test_chunks_that_hold_too_much_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_dask.data.check.warnings._LARGE_CHUNK", 1000)
    assert "store fewer samples in a chunk" in _said(_check(stores.classification(), tmp_path))


def test_a_single_volume_is_said_to_be_divided_and_where(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((8, 24, 96)) < 0.3).astype("uint8")
    volume = xr.Dataset({"image": (("z", "y", "x"), labels * 1.5), "label": (("z", "y", "x"), labels)})
    volume["image"].attrs["spacing"] = [40.0, 4.0, 4.0]
    volume.to_zarr(tmp_path / "volume.zarr", zarr_format=3, consolidated=False)
    problem = open_problem(tmp_path / "volume.zarr")
    report = check_data(problem, seconds=0.0)
    assert len(report.divided) == 1
    assert all(f"{name} " in report.divided[0] for name in ("train", "validation", "test"))
    text = report.text()
    assert "the image is divided along x: " in text
    assert "spacing      40 × 4 × 4 (z × y × x)" in text
    assert "images 'image': one image of 8 z × 24 y × 96 x" in text
    assert "drawn with seed" not in text
    assert "are parts of the same image" in _said(report)
    assert "Networks will hardly learn" not in _said(report)


def test_what_was_assumed_and_how_much_was_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    dims = ("dim_0", "dim_1", "dim_2", "dim_3")
    data = {"image": (dims, rng.normal(size=(12, 24, 24, 3))), "label": (dims[:1], np.arange(12) % 2)}
    xr.Dataset(data).to_zarr(tmp_path / "numbered.zarr", zarr_format=3, consolidated=False)
    report = check_data(open_problem(tmp_path / "numbered.zarr"), seconds=0.0)
    assert "assumed      dimensions have no names: took dim_3 (3 long) as channels" in report.text()
    assert report.read == 1.0 and "evenly spaced" not in report.text()
    part = replace(report, read=0.25)
    assert "read         25% of the pixels, evenly spaced" in part.text()


def test_the_quick_predictors_learn_from_parts_of_a_volume(tmp_path: Path) -> None:
    report = _check(stores.volume((16, 24, 96)), tmp_path)
    scores = {score.name: score.value for score in report.scores}
    assert scores["forest"] is not None
    assert scores["forest"] > 0.9


def test_a_divided_training_image_beside_test_images_is_told_as_such(tmp_path: Path) -> None:
    path, _, _ = stores.unequal(tmp_path / "data.zarr", 3, size=(64, 120), split=["train", "test", "test"])
    report = check_data(open_problem(path), seconds=0)
    assert "Training and validation are parts of the same image" in _said(report)
    assert "Training, validation and test are parts" not in _said(report)


def test_unequal_images_are_described_as_they_are(tmp_path: Path) -> None:
    path, _, _ = stores.unequal(tmp_path / "data.zarr", 12, label=np.arange(12) % 2)
    text = check_data(open_problem(path), seconds=0).text()
    assert "resized      images of 20 × 30 to 31 × 30 pixels, to 26 × 30" in text
    voted = check_data(open_problem(path, large_images="vote"), seconds=0)
    assert "12 samples of 20 to 31 y × 30 x, uint8" in voted.text()
    assert voted.scores[1].value is not None


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_quick_predictors_learn_in_any_unit(unit: float, tmp_path: Path) -> None:
    data = stores.regression()
    data["image"] = (data.image * unit).astype("float64")
    data["label"] = data.label.astype("float64") * unit
    scores = {score.name: score.value for score in _check(data, tmp_path).scores}
    assert scores["forest"] == pytest.approx(_check(stores.regression(), tmp_path / "b").scores[2].value, abs=0.05)


def test_a_class_for_each_image_brings_no_warnings_of_libraries(tmp_path: Path) -> None:
    data = stores.classification()
    data["label"] = data.label.copy(data=np.arange(data.sizes["sample"]))
    data.label.attrs = {}
    assert "Networks will hardly learn them" in _said(_check(data, tmp_path))
