"""Judges: ours, Keras's and the user's own see the same predictions and agree."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.training.scoring.scorer import Scorer, make_scorer
from tests.problems import problem

LABELS = np.array([0, 2, 1, 1])
PREDICTIONS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], dtype="float32")


def _value(scorer: Scorer, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the metric of two batches."""
    scorer.update(labels[:2], predictions[:2])
    scorer.update(labels[2:], predictions[2:])
    return scorer.value()


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "sparse_categorical_accuracy",
        "CategoricalAccuracy",
        "categorical_accuracy",
        "tests.own_functions:share_right",
    ],
)
def test_all_kinds_of_judges_agree_on_the_accuracy(name: str) -> None:
    assert _value(make_scorer(problem(metric=name)), LABELS, PREDICTIONS) == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["accuracy", "SparseCategoricalAccuracy", "CategoricalAccuracy"])
def test_ignored_labels_count_for_nothing(name: str) -> None:
    assert _value(make_scorer(problem(metric=name, ignore=1)), LABELS, PREDICTIONS) == pytest.approx(1.0)


def test_a_metric_class_of_the_users_own_judges_values() -> None:
    scorer = make_scorer(problem("regression", outputs=1, metric="tests.own_functions:LargestError", metric_mode="min"))
    labels = np.array([[1.0], [2.0], [3.0]], dtype="float32")
    assert _value(scorer, labels, labels + np.array([[0.5], [-1.5], [1.0]], dtype="float32")) == pytest.approx(1.5)


@pytest.mark.parametrize("name", ["acuracy", "MeanIoU", "tests.own_functions:share_wrong"])
def test_a_metric_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(UserError, match=name.partition(":")[2] or name):
        make_scorer(problem(metric=name))
