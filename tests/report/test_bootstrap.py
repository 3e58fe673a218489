"""The paired bootstrap: what it finds certain, and what it needs."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.report.bootstrap import Sums, difference


def accuracies(*shares: float, groups: int = 40, noise: float = 0.0, seed: int = 0) -> Sums:
    """Return sums of trainings with these accuracies; how hard a group is does not depend on the network."""
    hard = np.random.default_rng(1).normal(0, noise, groups)
    each = np.random.default_rng(seed).normal(0, 0.002, (len(shares), groups))
    right = np.clip(np.array(shares)[:, None] + hard + each, 0, 1)
    sums = np.zeros((len(shares), groups, 3, 2))
    sums[..., 0, 0], sums[..., 1, 0] = 100 * right, 100
    return sums


def test_a_small_difference_on_the_same_hard_and_easy_groups_is_certain() -> None:
    found = difference(accuracies(0.8, 0.8, noise=0.1), accuracies(0.78, 0.78, noise=0.1, seed=2), "accuracy")
    assert found is not None
    assert found.value == pytest.approx(0.02, abs=0.01)
    assert found.is_certain
    assert found.high - found.low < 0.02
    assert found.error > 0.01  # each score alone depends on which groups were tested


def test_a_difference_within_the_spread_of_the_seeds_is_not_certain() -> None:
    found = difference(accuracies(0.70, 0.80, 0.90), accuracies(0.72, 0.75, 0.80, seed=3), "accuracy")
    assert found is not None
    assert not found.is_certain


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        right = rng.random((2, 1, 50)) < np.array([0.7, 0.6])[:, None, None]
        sums = np.zeros((2, 1, 50, 3, 2))
        sums[..., 0, 0], sums[..., 1, 0] = right, 1
        found = difference(sums[0], sums[1], "accuracy")
        assert found is not None
        held += found.low <= 0.1 <= found.high
    assert 52 <= held <= 60


def test_no_interval_without_several_groups_or_with_scores_that_are_no_numbers() -> None:
    assert difference(accuracies(0.8, groups=1), accuracies(0.8, groups=1), "accuracy") is None
    assert difference(accuracies(0.8), np.full_like(accuracies(0.8), np.nan), "accuracy") is None
    assert difference(accuracies(0.8, groups=5), accuracies(0.8, groups=6), "accuracy") is None
