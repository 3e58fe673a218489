"""Measures of fitness: right against scikit-learn, in any number of batches, and of a constant predictor."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from menndl_dask.errors import DataError, UserError
from menndl_dask.metric import BUILT_IN, Measure, constant_fitness, prior_prediction, suits, to_fitness
from tests.problems import problem

_CLASSES = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": lambda t, p: np.mean([np.mean(p[t == c] == c) for c in np.unique(t)]),
    "mean_iou": lambda t, p: sk.jaccard_score(t, p, average="macro"),
    "mean_dice": lambda t, p: sk.f1_score(t, p, average="macro"),
}
_VALUES = {
    "r2": sk.r2_score,
    "mean_squared_error": sk.mean_squared_error,
    "mean_absolute_error": sk.mean_absolute_error,
}


def _in_batches(measure: Measure, labels: np.ndarray, predictions: np.ndarray, size: int) -> float:
    for start in range(0, len(labels), size):
        measure.update(labels[start : start + size], predictions[start : start + size])
    return measure.value()


@pytest.mark.parametrize("name", _CLASSES)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 6), size=st.integers(1, 50))
def test_measures_of_classes_agree_with_scikit_learn_in_any_batches(
    name: str, seed: int, classes: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 40)
    predictions = rng.random((40, classes))
    found = _in_batches(Measure(name, outputs=classes), labels, predictions, size)
    assert found == pytest.approx(_CLASSES[name](labels, predictions.argmax(-1)))


@pytest.mark.parametrize("name", _VALUES)
@given(seed=st.integers(0, 1000), outputs=st.integers(1, 3), size=st.integers(1, 50))
def test_measures_of_values_agree_with_scikit_learn_in_any_batches(
    name: str, seed: int, outputs: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.normal(1e3, 1.0, (40, outputs))
    predictions = labels + rng.normal(0, 0.5, (40, outputs))
    found = _in_batches(Measure(name, outputs=outputs), labels, predictions, size)
    assert found == pytest.approx(_VALUES[name](labels, predictions), rel=1e-6)


@pytest.mark.parametrize("name", _CLASSES)
def test_ignored_labels_count_for_nothing(name: str) -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (2, 8, 8)), rng.random((2, 8, 8, 3))
    plain, ignoring = Measure(name, outputs=3), Measure(name, outputs=3, ignore=255)
    kept = rng.random(labels.shape) < 0.5
    plain.update(labels[kept], predictions[kept])
    ignoring.update(np.where(kept, labels, 255), predictions)
    assert ignoring.value() == plain.value()


def test_a_class_that_occurs_nowhere_does_not_lower_the_mean() -> None:
    for name in ("mean_iou", "mean_dice", "balanced_accuracy"):
        measure = Measure(name, outputs=5)
        measure.update([0, 1], np.eye(5)[[0, 1]])
        assert measure.value() == 1.0


@pytest.mark.parametrize("name", BUILT_IN)
def test_nothing_measured_and_a_prediction_that_is_no_number_are_no_number(name: str) -> None:
    assert math.isnan(Measure(name, outputs=2).value())
    measure = Measure(name, outputs=2)
    measure.update([[0.0, 1.0]] if name in _VALUES else [0], [[math.nan, 1.0]])
    assert math.isnan(measure.value())


def test_a_value_that_never_varies_is_explained_only_by_a_perfect_prediction() -> None:
    perfect, wrong = Measure("r2", outputs=1), Measure("r2", outputs=1)
    perfect.update([[2.0], [2.0]], [[2.0], [2.0]])
    wrong.update([[2.0], [2.0]], [[2.0], [2.5]])
    assert (perfect.value(), wrong.value()) == (1.0, 0.0)


def test_what_cannot_be_measured_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"metric: expected one of accuracy, .*, got 'auc'"):
        Measure("auc", outputs=2)
    with pytest.raises(DataError, match=r"expected predictions of shape \(2, 3\), got \(2, 2\)"):
        Measure("accuracy", outputs=3).update([0, 1], np.ones((2, 2)))
    with pytest.raises(DataError, match=r"expected predictions of shape \(2, 1\), got \(2, 2\)"):
        Measure("r2", outputs=1).update([0.0, 1.0], np.ones((2, 2)))
    with pytest.raises(DataError, match="expected labels from 0 to 1, got 0 to 4"):
        Measure("accuracy", outputs=2).update([0, 4], np.ones((2, 2)))


def test_a_measure_suits_classes_or_values() -> None:
    assert suits("mean_iou", "segmentation")
    assert not suits("mean_iou", "regression")
    assert suits("mean_absolute_error", "regression")
    assert not suits("mean_absolute_error", "classification")
    assert suits("package.module:function", "segmentation")


def test_the_constant_predictor_says_the_most_frequent_class() -> None:
    skewed = problem(metric="accuracy")
    skewed = replace(skewed, facts=replace(skewed.facts, class_counts=(1, 7, 2)))
    assert prior_prediction(skewed).tolist() == [0.1, 0.7, 0.2]
    assert constant_fitness(skewed, [0, 1, 2, 1]) == 0.5
    assert constant_fitness(skewed, np.arange(3), times=[10, 30, 60]) == pytest.approx(0.3)
    assert constant_fitness(replace(skewed, metric="mean_iou"), np.arange(3), [10, 30, 60]) == pytest.approx(0.1)


def test_the_constant_predictor_of_values_says_their_mean_and_errors_are_negative_fitness() -> None:
    values = problem("regression", outputs=1, metric="mean_squared_error", metric_mode="min")
    assert constant_fitness(values, [[1.0], [-1.0]]) == -1.0
    assert constant_fitness(replace(values, metric=None, metric_mode="max"), [[1.0], [-1.0]]) == 0.0
    assert constant_fitness(replace(values, metric="my:metric"), [[1.0]]) is None
    assert to_fitness(values, 0.25) == -0.25


def test_values_count_as_often_as_asked() -> None:
    measure = Measure("mean_squared_error", outputs=2)
    measure.update([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [2.0, 2.0]], times=[3, 1])
    assert measure.value() == pytest.approx((3 * 1 + 4) / 4)
