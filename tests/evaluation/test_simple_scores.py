"""Test scores of predictors that are no networks: made once, kept in the run, read with care."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.data.data import open_problem
from menndl_dask.errors import RunError
from menndl_dask.evaluation.simple_scores import FILE, SimpleScore, keep_simple_scores, read_simple_scores
from tests import stores
from tests.problems import problem


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (stores.classification(90), "coarse images"),
        (stores.segmentation(24), "each pixel and its neighbourhood"),
        (stores.micrographs(8), "each pixel and its neighbourhood"),
        (stores.regression(60), "coarse images"),
    ],
)
def test_a_linear_model_and_a_forest_are_scored_for_each_task_and_the_best_comes_first(
    data: xr.Dataset, seen: str, tmp_path: Path
) -> None:
    of = open_problem(stores.write(data, tmp_path / "data.zarr"))
    keep_simple_scores(tmp_path, of)
    scores = read_simple_scores(tmp_path, of)
    assert sorted(score.about for score in scores) == [f"a linear model of {seen}", f"a random forest of {seen}"]
    values = [score.value for score in scores]
    assert values == sorted(values, reverse=of.metric_mode == "max")


def test_the_score_is_that_of_the_test_split(tmp_path: Path) -> None:
    data = stores.with_split(stores.classification(96), "train", "train", "validation", "test")
    wrong = data["label"].values.copy()
    is_test = data["split"].values == "test"
    wrong[is_test] = (wrong[is_test] + 1) % 3
    of = open_problem(stores.write(data.assign(label=data["label"].copy(data=wrong)), tmp_path / "data.zarr"))
    keep_simple_scores(tmp_path, of)
    assert max(score.value for score in read_simple_scores(tmp_path, of)) < 0.2  # 1.0 on the validation split


def test_they_are_made_once(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"metric": "accuracy", "test": {"a forest": 0.25}}')
    keep_simple_scores(tmp_path, problem())  # of data that do not exist
    assert read_simple_scores(tmp_path, problem()) == [SimpleScore("a forest", 0.25)]
    assert read_simple_scores(tmp_path, replace(problem(), metric="f1")) == []


def test_data_that_cannot_be_read_here_have_no_simple_scores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_simple_scores(tmp_path, problem())
    assert read_simple_scores(tmp_path, problem()) == []
    assert "simple predictors are not scored on the test split: nowhere.zarr" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metric": "accuracy"}', '{"metric": "accuracy", "test": [1]}'])
def test_a_damaged_file_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RunError, match=rf"{FILE}: cannot be read: .*; remove it") as caught:
        read_simple_scores(tmp_path, problem())
    assert "\n" not in str(caught.value)


def test_a_name_of_a_predictor_cannot_control_a_terminal(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"metric": "accuracy", "test": {"\x1b[31ma\nforest": np.e}}))
    (found,) = read_simple_scores(tmp_path, problem())
    assert found.about.isprintable()
