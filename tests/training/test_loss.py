"""The loss: equal to what is worked out by hand, blind to ignored labels, the same in every unit."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.training.loss import Loss, loss_minimising_constant
from tests.problems import problem

LABELS = np.array([0, 2, 1, 255])
PREDICTIONS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], dtype="float32")


def _value(loss: Loss, labels: object, predictions: object) -> float:
    return float(loss.call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(predictions)))


def test_weights_and_ignored_labels_are_as_worked_out_by_hand() -> None:
    loss = Loss(problem(class_weight=(1.0, 2.0, 0.5), ignore=255))
    expected = (-np.log(0.7) - 2 * np.log(0.4) - 0.5 * np.log(0.8)) / 3
    assert _value(loss, LABELS, PREDICTIONS) == pytest.approx(expected, rel=1e-5)


def test_only_ignored_labels_give_no_loss() -> None:
    loss = Loss(problem("segmentation", ignore=255))
    assert _value(loss, np.full((1, 2, 2), 255), np.full((1, 2, 2, 3), 1 / 3, dtype="float32")) == 0


@pytest.mark.parametrize(
    "name", ["sparse_categorical_crossentropy", "categorical_crossentropy", "CategoricalCrossentropy"]
)
def test_a_name_of_keras_for_cross_entropy_gives_the_same(name: str) -> None:
    settings = {"class_weight": (1.0, 2.0, 0.5), "ignore": 255}
    own = _value(Loss(problem(**settings)), LABELS, PREDICTIONS)
    assert _value(Loss(problem(loss=name, **settings)), LABELS, PREDICTIONS) == pytest.approx(own, rel=1e-5)


def test_a_loss_of_the_whole_batch_does_not_see_what_is_ignored() -> None:
    loss = Loss(problem("segmentation", loss="dice", ignore=255))
    labels, predictions = LABELS.reshape(1, 2, 2), PREDICTIONS.reshape(1, 2, 2, 3)
    before = _value(loss, labels, predictions)
    changed = predictions.copy()
    changed[0, 1, 1] = (0.0, 1.0, 0.0)  # of the label 255
    assert _value(loss, labels, changed) == pytest.approx(before)


def test_numbers_are_compared_in_standard_units() -> None:
    facts = replace(problem("regression", outputs=2).facts, label_mean=(100.0, 0.0), label_variance=(400.0, 0.25))
    loss = Loss(replace(problem("regression", outputs=2), facts=facts))
    assert _value(loss, [[120.0, 0.5]], np.array([[100.0, 1.0]], dtype="float32")) == pytest.approx(1.0)
    own = Loss(replace(problem("regression", outputs=2), facts=facts, loss="tests.own_functions:absolute_error"))
    assert _value(own, [[120.0, 0.5]], np.array([[100.0, 1.0]], dtype="float32")) == pytest.approx(10.25)


def test_a_loss_of_the_users_own_sees_the_labels_as_they_are() -> None:
    loss = Loss(problem("segmentation", loss="tests.own_functions:hedged_crossentropy", ignore=255))
    labels, predictions = LABELS.reshape(1, 2, 2), PREDICTIONS.reshape(1, 2, 2, 3)
    assert _value(loss, labels, predictions) == pytest.approx(-np.log([0.7, 0.8, 0.4]).sum() / 4, rel=1e-5)


def test_the_constant_prediction_minimises_the_weighted_loss() -> None:
    skewed = replace(problem().facts, class_counts=(80, 15, 5))
    weighted = replace(problem(class_weight="balanced"), facts=skewed)
    best = loss_minimising_constant(weighted)
    np.testing.assert_allclose(best, 1 / 3, rtol=1e-5)
    labels = np.repeat([0, 1, 2], [80, 15, 5])
    loss = Loss(weighted)
    for other in ([0.8, 0.15, 0.05], [0.4, 0.3, 0.3]):
        at_best, at_other = (_value(loss, labels, np.tile(np.float32(p), (100, 1))) for p in (best, other))
        assert at_best < at_other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weighted_crosentropy", "expected weighted_crossentropy, a name of Keras or module:function, got 'weighted_"),
        ("tests.nowhere:loss", r"module 'tests\.nowhere' cannot be imported on the worker"),
        ("tests.own_functions:rising", "has no 'rising'; did you mean 'raising'"),
    ],
)
def test_a_loss_that_does_not_exist_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Loss(problem(loss=name))
