"""Rules of a training: batch, length and loss follow from sizes, counts and times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.problem import Patches, Problem
from menndl_dask.search.plan import training_rules
from tests.problems import problem


def _pixels(*counts: int, shape: tuple[int, ...] = (64, 64, 1), samples: int = 100) -> Problem:
    found = problem("segmentation", (shape,), outputs=len(counts))
    return replace(found, facts=replace(found.facts, class_counts=counts, samples=(samples, 10, 10)))


@pytest.mark.parametrize(
    ("shape", "samples", "batch"),
    [
        ((64, 64, 1), 1000, 32),
        ((128, 128, 1), 1000, 8),
        ((512, 512, 1), 1000, 2),
        ((64, 64, 1), 21, 2),
        ((64, 64, 1), 40, 4),
    ],
)
def test_a_batch_of_pixel_labels_has_about_as_many_pixels_and_a_small_split_makes_several_steps(
    shape: tuple[int, ...], samples: int, batch: int
) -> None:
    assert training_rules.batch_size(_pixels(5, 5, shape=shape, samples=samples)).value == batch


def test_few_images_with_many_patches_do_not_make_the_batch_smaller() -> None:
    few = replace(_pixels(5, 5, samples=2), patches=Patches((64, 64)))
    assert training_rules.batch_size(few).value == 32


def test_a_rare_class_or_unequal_classes_call_for_dice() -> None:
    rare = training_rules.loss(_pixels(960, 40))
    assert (rare.value, rare.reason) == (
        "dice_crossentropy",
        "the rarest class has 4.0% of the pixels: Dice counts classes equally",
    )
    assert training_rules.loss(_pixels(80, 20)).value == "dice_crossentropy"
    assert training_rules.loss(_pixels(60, 40)).value == "weighted_crossentropy"
    assert training_rules.loss(problem()).value == "weighted_crossentropy"
    assert training_rules.loss(problem("regression", outputs=1)).value == "mean_squared_error"


def test_epochs_of_patches_have_any_length_and_those_of_images_are_passes() -> None:
    patches = replace(_pixels(5, 5), patches=Patches((32, 32)))
    assert training_rules.length(patches, 8, 500, None) == (50 * 8, 10)
    assert training_rules.length(patches, 8, 500, 80) == (80, 50)
    assert training_rules.length(_pixels(5, 5, samples=160), 16, 500, None) == (None, 50)
    assert training_rules.length(_pixels(5, 5, samples=64_000), 16, 500, None) == (None, 1)


@pytest.mark.parametrize(("seconds", "steps"), [(0.01, 1000), (0.15, 600), (0.3, 300), (2.0, 200), (None, 500)])
def test_the_length_of_a_training_follows_from_the_time_of_a_step(seconds: float | None, steps: int) -> None:
    assert training_rules.steps(problem(), 32, seconds) == steps


def test_a_step_that_takes_a_second_leaves_the_fewest_steps_and_says_so() -> None:
    assert training_rules.is_too_slow(1.0)
    assert not training_rules.is_too_slow(0.5)
    assert training_rules.steps(_pixels(5, 5), 8, 1.0) == 200
    assert "fewer steps would teach too little" in training_rules.length_reason(200, 1.0, slow=True)
