"""The loss: equal to what is worked out by hand, blind to ignored labels, the same in every unit."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from menndl_dask.data.keras_names import keras_names
from menndl_dask.errors import UserError
from menndl_dask.problem import LOSSES
from menndl_dask.training.loss import Loss, constant_losses, loss_minimising_constant
from tests.problems import problem

LABELS = np.array([0, 2, 1, 255])
PREDICTIONS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], dtype="float32")


def _value(loss: Loss, labels: object, predictions: object) -> float:
    return float(loss.call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(predictions)))


def test_weights_and_ignored_labels_are_as_worked_out_by_hand() -> None:
    loss = Loss(problem(class_weight=(1.0, 2.0, 0.5), ignore=255))
    expected = (-np.log(0.7) - 2 * np.log(0.4) - 0.5 * np.log(0.8)) / 3
    assert _value(loss, LABELS, PREDICTIONS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_only_ignored_labels_give_no_loss(name: str) -> None:
    loss = Loss(problem("segmentation", ignore=255, loss=name))
    assert _value(loss, np.full((1, 2, 2), 255), np.full((1, 2, 2, 3), 1 / 3, dtype="float32")) == 0


@pytest.mark.parametrize(
    "name", ["sparse_categorical_crossentropy", "categorical_crossentropy", "CategoricalCrossentropy"]
)
def test_a_name_of_keras_for_cross_entropy_gives_the_same(name: str) -> None:
    settings = {"class_weight": (1.0, 2.0, 0.5), "ignore": 255}
    own = _value(Loss(problem(**settings)), LABELS, PREDICTIONS)
    assert _value(Loss(problem(loss=name, **settings)), LABELS, PREDICTIONS) == pytest.approx(own, rel=1e-5)


@pytest.mark.parametrize("name", ["Dice", "dice", "dice_crossentropy", "tversky", "focal"])
def test_a_loss_does_not_see_what_is_ignored(name: str) -> None:
    loss = Loss(problem("segmentation", loss=name, ignore=255))
    labels, predictions = LABELS.reshape(1, 2, 2), PREDICTIONS.reshape(1, 2, 2, 3)
    before = _value(loss, labels, predictions)
    changed = predictions.copy()
    changed[0, 1, 1] = (0.0, 1.0, 0.0)  # of the label 255
    assert _value(loss, labels, changed) == pytest.approx(before)


def _plain(name: str, labels: np.ndarray, predictions: np.ndarray, weights: tuple[float, ...]) -> float:
    """Return a loss as its paper defines it, class by class and label by label."""
    name, _, number = name.partition("=")
    rows = zip(labels.ravel(), predictions.reshape(-1, predictions.shape[-1]), strict=True)
    known = [(t, p) for t, p in rows if t != 255]
    gamma = float(number or 2) if name == "focal" else 0
    per_label = [-weights[t] * (1 - p[t]) ** gamma * np.log(p[t]) for t, p in known]
    alpha = float(number or 0.3) if name == "tversky" else 0.5
    scores = {}
    for c in {int(t) for t, _ in known}:
        hit = sum(p[c] for t, p in known if t == c)
        wrong = sum(p[c] for t, p in known if t != c)
        missed = sum(1 - p[c] for t, p in known if t == c)
        scores[c] = hit / (hit + alpha * wrong + (1 - alpha) * missed)
    overlap = sum(weights[c] * (1 - score) for c, score in scores.items()) / sum(weights[c] for c in scores)
    if name in ("dice", "tversky"):
        return float(overlap)
    return float(np.mean(per_label)) + (float(overlap) if name == "dice_crossentropy" else 0.0)


@pytest.mark.parametrize("name", ["dice", "dice_crossentropy", "focal", "focal=0.5", "tversky", "tversky=0.8"])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (0.0, 1.0, 3.0, 0.5)])
def test_losses_are_those_of_their_papers(name: str, weights: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 1, 2, 255], (2, 3, 4))  # class 3 does not occur
    predictions = rng.dirichlet(np.ones(4), labels.shape).astype("float32")
    loss = Loss(problem("segmentation", outputs=4, loss=name, ignore=255, class_weight=weights))
    assert _value(loss, labels, predictions) == pytest.approx(_plain(name, labels, predictions, weights), rel=1e-5)
    row = labels.ravel(), predictions.reshape(-1, 4)  # a label for each sample
    assert _value(loss, *row) == pytest.approx(_plain(name, labels, predictions, weights), rel=1e-5)


def test_a_perfect_prediction_has_no_dice_loss_and_a_class_that_is_absent_does_not_count() -> None:
    loss = Loss(problem("segmentation", loss="dice"))
    labels = np.array([[0, 2, 2, 0]])
    assert _value(loss, labels, np.eye(3, dtype="float32")[labels]) == pytest.approx(0.0, abs=1e-6)


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


@pytest.mark.parametrize("name", ["dice", "dice_crossentropy", "focal=3", "tversky"])
@pytest.mark.parametrize("weights", ["none", (0.2, 1.0, 4.0)])
def test_no_constant_prediction_has_a_lower_mean_loss_over_batches(name: str, weights: object) -> None:
    of = problem("segmentation", loss=name, class_weight=weights, ignore=255)
    batches = [np.repeat([0, 1, 2, 255], counts) for counts in ([90, 8, 2, 4], [100, 0, 0, 9], [60, 39, 1, 0])]
    loss = Loss(of)
    best = loss_minimising_constant(of, batches)
    assert best.sum() == pytest.approx(1.0, rel=1e-5)
    least = constant_losses(of, loss, best, batches)
    direct = [_value(loss, labels, np.tile(best, (len(labels), 1))) for labels in batches]
    np.testing.assert_allclose(least, direct, rtol=1e-4, atol=2e-6)
    for other in np.random.default_rng(0).dirichlet(best * 50 + 0.05, 40):
        assert constant_losses(of, loss, other, batches).mean() >= least.mean() - 1e-4


def test_the_constant_of_dice_for_all_labels_at_once_is_their_frequencies() -> None:
    skewed = replace(problem("segmentation", loss="dice"), facts=replace(problem().facts, class_counts=(80, 15, 5)))
    np.testing.assert_allclose(loss_minimising_constant(skewed), (0.8, 0.15, 0.05), atol=0.01)


def test_the_constants_of_other_losses_are_computed_by_the_loss_itself() -> None:
    of = problem("regression", outputs=1)
    values = [np.array([[1.0], [2.0]], "float32"), np.array([[0.0]], "float32")]
    constant = loss_minimising_constant(of)
    np.testing.assert_allclose(constant_losses(of, Loss(of), constant, values), [2.5, 0.0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weighted_crosentropy", "expected weighted_cross.*, a name of Keras or module:function, got 'weighted_"),
        ("foocal=2", "expected weighted_cross.*, got 'foocal=2'; did you mean 'focal'"),
        ("tests.nowhere:loss", r"module 'tests\.nowhere' cannot be imported on the worker"),
        ("tests.own_functions:rising", "has no 'rising'; did you mean 'raising'"),
    ],
)
def test_a_loss_that_does_not_exist_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Loss(problem(loss=name))


def test_the_names_that_are_known_without_importing_keras_are_its_own() -> None:
    from keras.src import losses, metrics

    assert set(losses.ALL_OBJECTS_DICT) <= set(keras_names("losses"))
    assert set(metrics.ALL_OBJECTS_DICT) <= set(keras_names("metrics"))
