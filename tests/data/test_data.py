"""Problems from data: facts that are right, splits that hold, samples staged once, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem, open_staged, splits, stage
from menndl_dask.errors import UserError
from menndl_dask.problem import SPLITS, Budget, Problem
from tests import stores


def _open(data: xr.Dataset, tmp_path: Path, **settings: object) -> Problem:
    return open_problem(stores.write(data, tmp_path / "data.zarr"), **settings)  # type: ignore[arg-type]


def test_the_facts_of_classes_of_samples(tmp_path: Path) -> None:
    data = stores.classification()
    problem = _open(data, tmp_path, budget=Budget(steps=3))
    train = splits(problem)["train"]
    facts = problem.facts
    assert (problem.task, problem.metric_name, problem.budget.steps) == ("classification", "accuracy", 3)
    assert facts.input_shapes == ((8, 6, 2),)
    assert facts.classes == tuple(stores.CLASSES)
    assert sum(facts.samples) == 60
    assert facts.class_counts == tuple(np.bincount(data.label.values[train]))
    images = data.image.values[train].astype("float64")
    np.testing.assert_allclose(facts.mean, [images.mean(axis=(0, 1, 2))])
    np.testing.assert_allclose(facts.variance, [images.var(axis=(0, 1, 2))])
    assert facts.constant_fitness == pytest.approx(1 / 3, abs=0.1)


def test_the_facts_of_classes_of_pixels(tmp_path: Path) -> None:
    data = stores.segmentation()
    problem = _open(data, tmp_path)
    train = data.label.values[splits(problem)["train"]]
    assert (problem.task, problem.metric_name, problem.ignore) == ("segmentation", "mean_iou", 255)
    assert problem.facts.outputs == 2
    assert problem.facts.class_counts == (int((train == 0).sum()), int((train == 1).sum()))
    validation = data.label.values[splits(problem)["validation"]]
    background = np.mean(validation[validation != 255] == 0)
    assert problem.facts.constant_fitness == pytest.approx(background / 2)


def test_the_facts_of_values(tmp_path: Path) -> None:
    data = stores.regression()
    problem = _open(data, tmp_path)
    train = data.label.values[splits(problem)["train"]]
    assert (problem.task, problem.metric_name, problem.facts.outputs) == ("regression", "r2", 2)
    np.testing.assert_allclose(problem.facts.label_mean, train.mean(axis=0))
    np.testing.assert_allclose(problem.facts.label_variance, train.var(axis=0))
    assert problem.facts.constant_fitness is not None
    assert problem.facts.constant_fitness <= 0
    assert problem.facts.classes == ()


def test_a_problem_can_be_written_and_read(tmp_path: Path) -> None:
    problem = _open(stores.segmentation(), tmp_path)
    assert Problem.from_dict(problem.to_dict()) == problem


def test_images_without_channels_are_of_one_channel(tmp_path: Path) -> None:
    problem = _open(stores.segmentation().isel(channel=0), tmp_path)
    assert problem.facts.input_shapes == ((10, 12, 1),)
    assert open_staged(stage(problem, tmp_path), "train").images[0].shape[1:] == (10, 12, 1)


def test_channels_and_samples_are_found_wherever_they_stand(tmp_path: Path) -> None:
    plain = stores.classification()
    usual = _open(plain, tmp_path)
    turned = plain.transpose("channel", "y", "sample", "x")
    other = open_problem(stores.write(turned, tmp_path / "turned.zarr"))
    assert other.facts.input_shapes == usual.facts.input_shapes
    for left, right in zip(*(open_staged(stage(p, tmp_path), "test").images for p in (usual, other)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_missing_values_count_for_nothing_and_are_staged_as_the_mean(tmp_path: Path) -> None:
    data = stores.classification()
    data.image.values[:, 2, 3, 1] = np.nan
    problem = _open(data, tmp_path)
    images = data.image.values[splits(problem)["train"]].astype("float64")
    np.testing.assert_allclose(problem.facts.mean, [np.nanmean(images, axis=(0, 1, 2))])
    staged = open_staged(stage(problem, tmp_path), "train").images[0]
    np.testing.assert_array_equal(staged[:, 2, 3, 1], np.float32(problem.facts.mean[0][1]))
    assert np.isfinite(staged).all()


def test_several_views_are_opened_and_staged_together(tmp_path: Path) -> None:
    data = stores.classification()
    data["second"] = (("sample", "row", "column"), np.arange(60 * 5 * 4).reshape(60, 5, 4))
    problem = _open(data, tmp_path, inputs=["image", "second"])
    assert problem.facts.input_shapes == ((8, 6, 2), (5, 4, 1))
    staged = open_staged(stage(problem, tmp_path / "staged"), "validation")
    positions = splits(problem)["validation"]
    np.testing.assert_array_equal(staged.images[0], data.image.values[positions])
    np.testing.assert_array_equal(staged.images[1][..., 0], data.second.values[positions])
    np.testing.assert_array_equal(staged.labels, data.label.values[positions])


@pytest.mark.parametrize("kind", ["classification", "segmentation", "regression"])
def test_staged_samples_are_those_of_the_split(kind: str, tmp_path: Path) -> None:
    data = getattr(stores, kind)()
    problem = _open(data, tmp_path)
    place = stage(problem, tmp_path / "staged")
    for name, positions in splits(problem).items():
        samples = open_staged(place, name)
        assert len(samples) == len(positions) == problem.facts.samples[SPLITS.index(name)]
        assert samples.images[0].dtype == np.float32
        np.testing.assert_array_equal(samples.images[0], data.image.values[positions].astype("float32"))
        np.testing.assert_allclose(samples.labels, data.label.values[positions], rtol=1e-6)
        assert samples.labels.dtype == (np.float32 if kind == "regression" else np.uint8)


def test_labels_below_zero_that_are_ignored_are_staged_as_they_are(tmp_path: Path) -> None:
    data = stores.segmentation()
    data["label"] = data.label.astype("int16").where(data.label != 255, -1).assign_attrs(fill=-1)
    problem = _open(data, tmp_path)
    assert problem.ignore == -1
    assert (open_staged(stage(problem, tmp_path), "test").labels[:, 0, 0] == -1).all()


def test_the_fingerprint_is_of_the_data_and_not_of_the_process_or_place(tmp_path: Path) -> None:
    first = _open(stores.classification(), tmp_path)
    again = stores.write(stores.classification(), tmp_path / "again.zarr", chunk=11)
    code = f"from menndl_dask.data.data import open_problem; print(open_problem({str(again)!r}).facts.fingerprint)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert told.stdout.strip() == first.facts.fingerprint
    other = open_problem(stores.write(stores.classification(seed=1), tmp_path / "other.zarr"))
    assert other.facts.fingerprint != first.facts.fingerprint


def test_a_metric_that_is_not_ours_has_no_known_constant_score(tmp_path: Path) -> None:
    problem = _open(stores.classification(), tmp_path, metric="keras.metrics:TopKCategoricalAccuracy")
    assert problem.facts.constant_fitness is None


def test_an_error_to_be_minimised_is_known_as_such(tmp_path: Path) -> None:
    problem = _open(stores.regression(), tmp_path, metric="mean_squared_error")
    assert problem.metric_mode == "min"
    assert problem.facts.constant_fitness is not None
    assert problem.facts.constant_fitness < 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "segmentaton"}, r"did you mean 'segmentation'\?"),
        ({"metric": "r2"}, r"metric: expected for classification one of accuracy, .*, got 'r2'"),
        ({"metric": "accuracy", "metric_mode": "min"}, "expected 'max' for accuracy, got 'min'"),
        ({"metric": "acuracy"}, r"metric: expected accuracy, .*, got 'acuracy'; did you mean 'accuracy'\?"),
        ({"loss": "catgorical_crossentropy"}, "loss: .*; did you mean 'categorical_crossentropy'"),
        ({"class_weight": [1.0]}, "class_weight: expected 3 weights"),
    ],
)
def test_a_setting_that_does_not_suit_the_data_is_refused(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _open(stores.classification(), tmp_path, **settings)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (np.zeros((2, 3)), {}, "labels: expected an array beside the images, got None"),
        (None, {}, "data: expected the path or URL of a Zarr store, or images in memory, got None"),
        ("data.zarr", {"budget": 3}, r"budget: expected a Budget, such as Budget\(epochs=8\), got 3"),
    ],
)
def test_values_of_another_kind_are_refused_in_words(data: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_problem(data, **settings)
