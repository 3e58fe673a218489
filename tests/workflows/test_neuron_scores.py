"""Scores of boundaries and of the neurons after the watershed: what is perfect, split, merged, and not counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neuron_scores import SCORES, forest_probabilities, score, segment
from neuron_volumes import FILL, Volume
from skimage.segmentation import find_boundaries

from tests.neuron_files import image_of, neurons

NUMBERS = neurons((20, 40, 40), side=20)


def volume(numbers: np.ndarray = NUMBERS, by_section: bool = False, seed: int = 0) -> Volume:
    parts = numbers if by_section else [numbers]
    boundary = [find_boundaries(part, connectivity=1, mode="thick") for part in parts]
    boundary = np.stack(boundary) if by_section else boundary[0]
    return Volume("a", image_of(numbers, seed), boundary.astype("uint8"), numbers, by_section)


def scores(each: Volume, probability: np.ndarray) -> dict[str, float]:
    return dict(zip(SCORES, score([each], [probability]), strict=True))


@pytest.mark.parametrize("by_section", [False, True])
def test_the_true_boundaries_give_the_true_neurons(by_section: bool) -> None:
    each = volume(by_section=by_section)
    found = scores(each, each.boundary.astype("float32"))
    assert found == pytest.approx(
        {"boundary IoU": 1, "accuracy": 1, "boundary F1": 1, "VI split": 0, "VI merge": 0, "adapted Rand error": 0},
        abs=1e-9,
    )


def test_neurons_without_a_wall_between_them_are_merged_and_a_wall_within_one_splits_it() -> None:
    each = volume()
    without = each.boundary.astype("float32")
    without[:, :, 17:23] = without[:, :, 16:17]
    found = scores(each, without)
    assert found["VI merge"] == pytest.approx(1, abs=0.1) and found["VI split"] == pytest.approx(0, abs=1e-9)
    assert found["adapted Rand error"] > 0.3
    more = each.boundary.astype("float32")
    more[:, :, 9:11] = 1
    found = scores(each, more)
    assert found["VI split"] == pytest.approx(0.5, abs=0.1) and found["VI merge"] == pytest.approx(0, abs=1e-9)


def test_a_boundary_one_step_away_counts_for_the_f1_and_not_for_the_overlap() -> None:
    each = volume(by_section=True)
    shifted = np.roll(each.boundary, 1, axis=2).astype("float32")
    found = scores(each, shifted)
    assert found["boundary F1"] == pytest.approx(1) and found["boundary IoU"] < 0.7
    assert scores(each, np.roll(each.boundary, 3, axis=2).astype("float32"))["boundary F1"] < 0.9


def test_voxels_without_a_label_are_not_counted() -> None:
    each = volume()
    unlabelled, numbers = each.boundary.copy(), NUMBERS.copy()
    unlabelled[:, :10], numbers[:, :10] = FILL, 0
    wrong = each.boundary.astype("float32")
    wrong[:, :9] = 1 - wrong[:, :9]
    found = scores(replace(each, boundary=unlabelled, neurons=numbers), wrong)
    assert found["boundary IoU"] == 1 and found["accuracy"] == 1


def test_several_volumes_are_scored_together_though_their_neurons_have_the_same_numbers() -> None:
    each = volume()
    perfect = each.boundary.astype("float32")
    assert score([each, each], [perfect, perfect]) == pytest.approx((1, 1, 1, 0, 0, 0), abs=1e-9)
    one = score([each, each], [perfect, np.zeros_like(perfect)])
    assert one[4] == pytest.approx(score([each], [np.zeros_like(perfect)])[4] / 2)


def test_each_section_is_flooded_by_itself() -> None:
    found = segment(volume(by_section=True).boundary.astype("float32")[:3], by_section=True)
    assert len(np.unique(found)) == 12 and not set(np.unique(found[0])) & set(np.unique(found[1]))


def test_the_forest_finds_dark_walls() -> None:
    numbers = neurons((4, 40, 40))
    (found,) = forest_probabilities([volume(numbers, True)], [volume(numbers, True, seed=1)], seed=0)
    assert found.shape == (4, 40, 40)
    assert scores(volume(numbers, True), found)["accuracy"] > 0.95
