"""Examples of a split: the right ones are kept, few of them, and as small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from menndl_dask.problem import Problem
from menndl_dask.training.scoring.examples import NO_LABEL, Examples, picture
from tests.problems import problem


def _collected(of: Problem, labels: np.ndarray, predictions: np.ndarray, images: np.ndarray) -> dict[str, Any]:
    """Return the examples of a split that comes in batches of seven."""
    examples = Examples(of, len(labels))
    for start in range(0, len(labels), 7):
        chosen = slice(start, start + 7)
        units = np.arange(start, start + len(labels[chosen]))
        examples.update(units, labels[chosen], predictions[chosen], lambda chosen=chosen: images[chosen])
    assert examples.units.tolist() == examples.arrays()["unit"].tolist()
    return examples.arrays()


def _pixels(count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predictions and images, the first ones the best."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (count, 16, 16))
    wrong = rng.random(labels.shape) < np.linspace(0, 0.9, count)[:, None, None]
    said = np.where(wrong, (labels + 1) % 3, labels)
    return labels, np.eye(3)[said] * 0.8 + 0.1, labels[..., np.newaxis].astype(float)


def test_the_best_the_median_and_the_worst_of_many_samples_are_kept() -> None:
    found = _collected(problem("segmentation", ((16, 16, 1),)), *_pixels())
    places, units, scores = (found[name].tolist() for name in ("place", "unit", "score"))
    assert places == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
    assert set(units[:3]) <= set(range(8))
    assert all(80 < unit < 120 for unit in units[3:6])
    assert set(units[6:]) <= set(range(180, 200))
    assert scores == sorted(scores, reverse=True)[:6] + sorted(scores)[:3]  # the worst of all before the others
    assert (found["label0"] == found["prediction0"]).mean() > 0.95
    assert found["confusion"].sum() == 200 * 256
    number, confidence, right = found["calibration"].sum(axis=1)
    assert number == 200 * 256
    assert confidence / number == pytest.approx(0.9)
    assert right == np.trace(found["confusion"])


def test_only_few_pictures_are_in_memory() -> None:
    of = problem("segmentation", ((16, 16, 1),))
    labels, predictions, images = _pixels(1000)
    examples, read = Examples(of, 1000), []

    def images_of(unit: int) -> Sequence[np.ndarray]:
        read.append(unit)
        return [images[unit]]

    for unit in range(1000):
        one = slice(unit, unit + 1)
        examples.update(np.array([unit]), labels[one], predictions[one], lambda unit=unit: images_of(unit))
    assert len(examples._kept) < 70
    assert len(read) < 1000


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_no_sample_of_few_is_shown_twice(count: int) -> None:
    found = _collected(problem("segmentation", ((16, 16, 1),)), *_pixels(count))
    assert len(set(found["unit"].tolist())) == len(found["unit"]) >= min(count, 3)


def test_pixels_without_a_label_count_for_nothing() -> None:
    labels, predictions, images = _pixels(9)
    labels[:, :4] = 255
    labels[0] = 255
    found = _collected(problem("segmentation", ((16, 16, 1),), ignore=255), labels, predictions, images)
    assert 0 not in found["unit"]
    assert found["confusion"].sum() == 8 * 12 * 16
    assert (found["label0"][:4] == NO_LABEL).all()
    assert found["label0"][4:].max() < 3


def test_of_classes_what_was_confused_most_is_kept() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    said = np.where((labels == 0) & (rng.random(300) < 0.5), 2, labels)
    predictions = np.eye(3)[said] * 0.7 + 0.1
    found = _collected(problem(), labels, predictions, rng.random((300, 16, 16, 1)))
    confused = [n for n, place in enumerate(found["place"].tolist()) if place == "confused"]
    assert len(confused) == 2  # of the only pair
    assert all(int(found[f"label{n}"]) == 0 and int(found[f"prediction{n}"]) == 2 for n in confused)
    assert found["confusion"][0, 2] == np.sum(said != labels)
    assert found["confidence0"] == pytest.approx(0.8)


def test_of_values_the_error_counts_and_at_most_a_thousand_points_are_kept() -> None:
    rng = np.random.default_rng(2)
    of = problem("regression", outputs=2)
    of = replace(of, facts=replace(of.facts, label_variance=(4.0, 4.0)))
    truth = rng.random((1500, 2))
    guess = truth + 0.01
    guess[7] += 5.99
    found = _collected(of, truth, guess, rng.random((1500, 16, 16, 1)))
    assert 7 in found["unit"][found["place"] == "worst"]
    assert found["score"].min() == pytest.approx(-3.0)  # standard deviations
    assert found["truth"].shape == found["guess"].shape == (750, 2)
    assert found["confusion"].size == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 90, 1), (100, 90)),
        ((600, 300, 1), (200, 150)),
        ((5000, 5000, 1), (256, 256)),
        ((290, 290, 3), (147, 147, 3)),
        ((290, 290, 8), (147, 147, 3)),
        ((40, 30, 2), (40, 30)),
        ((64, 3), (16, 64, 3)),
        ((20, 30, 40, 1), (30, 40 + 40 + 20 + 8)),
    ],
)
def test_pictures_are_small(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    image, mask = picture(np.random.default_rng(0).random(shape), np.zeros(shape[:-1], np.uint16))
    assert image.dtype == np.uint8
    assert all(n <= most for n, most in zip(image.shape, expected, strict=True))
    assert image.shape[:2] == mask.shape
    assert image.size <= 65_536
    assert image.size >= 0.6 * np.prod(expected)


def test_the_contrast_is_that_of_the_picture_and_missing_values_do_no_harm() -> None:
    values = np.linspace(1000, 1001, 64).reshape(8, 8, 1)
    values[0, 0] = np.nan
    image, *_ = picture(values, np.zeros((8, 8), np.uint16))
    assert image.min() == 0
    assert image.max() == 255
    assert not picture(np.full((8, 8, 1), np.nan), np.zeros((8, 8), np.uint16))[0].any()
