"""Problems and budgets: defaults that suit the task, and errors in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.errors import UserError
from menndl_dask.problem import Budget, Patches, Problem
from tests.problems import PROBLEMS, problem


@pytest.mark.parametrize("name", PROBLEMS, ids=str)
def test_a_problem_survives_being_written_and_read(name: str) -> None:
    assert Problem.from_dict(PROBLEMS[name].to_dict()) == PROBLEMS[name]


def test_a_budget_of_an_old_run_is_read_by_its_new_names() -> None:
    old = {"epochs": 2, "early_verdict": False, "verdict_share": 0.5, "rung_pass": 0.4, "inherit": False}
    new = Budget(epochs=2, early_stopping=False, early_stopping_share=0.5, rung_quantile=0.4)
    assert Budget.from_dict(old) == new


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UserError, match="unknown key 'metrc'; did you mean 'metric'"):
        Problem.from_dict({**problem().to_dict(), "metrc": "accuracy"})


def test_the_metric_suits_the_task_and_the_balance() -> None:
    assert problem().metric_name == "accuracy"
    assert problem("regression").metric_name == "r2"
    assert problem("segmentation").metric_name == "mean_iou"
    skewed = replace(problem().facts, class_counts=(1000, 20, 300))
    assert replace(problem(), facts=skewed).metric_name == "balanced_accuracy"
    assert problem(metric="top_k").metric_name == "top_k"


def test_class_weights_have_mean_one_over_the_samples() -> None:
    counts = (9000, 90, 10)
    skewed = replace(problem("segmentation"), facts=replace(problem().facts, class_counts=counts))
    for kind in ("auto", "balanced", "sqrt", "none"):
        weights = replace(skewed, class_weight=kind).class_weights()
        assert sum(w * c for w, c in zip(weights, counts, strict=True)) == pytest.approx(sum(counts))
    rare = replace(skewed, class_weight="sqrt").class_weights()
    assert rare[2] / rare[0] == pytest.approx(30)


def test_losses_that_count_every_class_alike_use_no_weights_unless_asked() -> None:
    skewed = replace(problem("segmentation").facts, class_counts=(9000, 90, 10))
    for loss in ("dice", "dice_crossentropy", "tversky=0.4"):
        of = replace(problem("segmentation", loss=loss), facts=skewed)
        assert of.class_weights() == (1.0, 1.0, 1.0)
        assert replace(of, class_weight=(0.0, 1.0, 2.0)).class_weights() == (0.0, 1.0, 2.0)
    assert replace(problem("segmentation", loss="focal"), facts=skewed).class_weights()[2] > 10


def test_rotation_is_by_right_angles_or_by_up_to_an_angle() -> None:
    square, turned = problem(augmentation=("rotate", "rotate=10")).changes()
    assert (square.amount, turned.amount) == (0.0, 10.0)
    apart = replace(problem(shapes=((8, 16, 16, 1),)).facts, spacing=(1.0, 3.0, 9.0))
    with pytest.raises(UserError, match=r"rotate: expected two axes .* same size, got pixels of 1 × 3 × 9"):
        replace(problem(shapes=((8, 16, 16, 1),)), facts=apart, augmentation=("rotate=10",))


def test_a_class_without_samples_has_no_weight() -> None:
    skewed = replace(problem(class_weight="balanced"), facts=replace(problem().facts, class_counts=(10, 0, 10)))
    assert skewed.class_weights() == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"expected epochs, steps, seconds or flops \(such as --epochs 8\), got none"),
        ({"flops": 0}, "flops: expected a number > 0, got 0"),
        ({"epochs": 1, "precision": "float61"}, "precision: expected one of .*, got 'float61'; did you mean 'float16'"),
        ({"epochs": 1, "backend": "pytorch"}, "backend: expected one of tensorflow, jax, torch, got 'pytorch'"),
        ({"seconds": 1, "deterministic": True}, "deterministic: expected epochs, steps or flops, got seconds"),
        ({"epochs": 0}, "epochs: expected a number > 0, got 0"),
        ({"seconds": "long"}, "seconds: expected a number > 0, got 'long'"),
        ({"epochs": 1, "early_stopping_share": 2}, r"early_stopping_share: expected a number in \(0, 1\], got 2"),
    ],
)
def test_a_wrong_budget_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Budget(**arguments)  # type: ignore[arg-type]


def test_a_longer_budget_is_longer_in_every_unit() -> None:
    longer = Budget(epochs=2, steps=10, seconds=3.0, flops=1e9).times(4)
    assert longer == Budget(epochs=8, steps=40, seconds=12.0, flops=4e9)


def test_a_budget_of_an_earlier_version_has_the_defaults_of_this_one() -> None:
    new = problem().to_dict()
    old = {key: value for key, value in new.items() if key != "augmentation"}
    added = ("flops", "precision", "deterministic", "backend")
    old["budget"] = {key: value for key, value in new["budget"].items() if key not in added}
    assert Problem.from_dict(old) == problem()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "clasification"}, "did you mean 'classification'"),
        ({"metric_mode": "up"}, "metric_mode: expected 'max' or 'min', got 'up'"),
        ({"class_weight": "equal"}, "class_weight: expected auto, balanced"),
        ({"class_weight": (1.0, 2.0)}, "expected 3 weights, one for each class, got 2"),
        ({"augmentation": ("flp",)}, "augmentation: expected flip, .*, got 'flp'; did you mean 'flip'"),
        ({"augmentation": ("flip=z",)}, "augmentation: flip: expected axes among y, x, got 'z'"),
        ({"augmentation": ("rotate=270",)}, "rotate: expected a number > 0 and ≤ 180, got '270'"),
        ({"augmentation": ("rotate",), "shapes": ((8, 12, 1),)}, "rotate: expected images as high as wide.*, got 8×12"),
        ({"augmentation": ("rotate=9",), "shapes": ((8, 1),)}, "rotate: expected two axes .*, got images with 1"),
        ({"augmentation": ("shear", "flip", "shear=0.2")}, "expected shear once, got shear, flip, shear=0.2"),
        ({"augmentation": ("elastic=0.5",)}, "elastic: expected a number > 0 and ≤ 0.1, got '0.5'"),
        ({"loss": "focal=much"}, r"loss: focal: expected a number > 0 \(gamma\), got 'much'"),
        ({"loss": "tversky=1"}, r"loss: tversky: expected a number between 0 and 1 \(alpha\), got '1'"),
        ({"loss": "dice=2"}, "loss: dice: expected no number, got 'dice=2'"),
        ({"loss": "dice", "task": "regression"}, "loss: expected for regression a loss of numbers, got 'dice'"),
        ({"augmentation": ("shift=0.7",)}, "shift: expected a number > 0 and ≤ 0.5, got '0.7'"),
        ({"augmentation": ("noise=much",)}, "noise: expected a number > 0, got 'much'"),
    ],
)
def test_a_wrong_setting_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        problem(**arguments)  # type: ignore[arg-type]


def test_numbers_are_not_voted_on() -> None:
    with pytest.raises(UserError, match="expected mean or resize for regression, got vote"):
        problem("regression", large_images="vote")


def test_what_a_network_sees_is_said_in_words() -> None:
    assert problem("segmentation", ((8, 9, 1),)).seen == "8×9×1 images"
    volumes = replace(problem("segmentation", ((4, 8, 9, 1),)), patches=Patches((4, 8, 9)))
    assert volumes.seen == "images in patches of 4×8×9×1"
