"""Splits: nothing twice, nothing lost, alike in strata, no group in two of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.data.parts.regions import SHARES
from menndl_dask.data.splits import split_samples
from menndl_dask.errors import DataError
from menndl_dask.problem import SPLITS


@given(number=st.integers(3, 300), classes=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_sample_is_in_one_split_and_none_is_empty(number: int, classes: int, seed: int) -> None:
    strata = np.random.default_rng(seed).integers(0, classes, number)
    parts = split_samples(strata, seed=seed)
    together = np.concatenate([parts[name] for name in SPLITS])
    assert sorted(together) == list(range(number))
    assert all(len(part) > 0 and (np.diff(part) > 0).all() for part in parts.values())


@given(number=st.integers(60, 2000), classes=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_shares_hold_for_the_whole_and_for_each_class(number: int, classes: int, seed: int) -> None:
    strata = np.random.default_rng(seed).integers(0, classes, number)
    for name, part in split_samples(strata, seed=seed).items():
        assert abs(len(part) - SHARES[name] * number) <= 1.5
        for stratum in range(classes):
            there = (strata == stratum).sum()
            assert abs((strata[part] == stratum).sum() - SHARES[name] * there) <= 2


@given(groups=st.integers(3, 40), seed=st.integers(0, 99))
def test_no_group_is_in_two_splits(groups: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, 200)])
    strata = rng.integers(0, 3, len(group))
    parts = split_samples(strata, group, seed=seed)
    held = [set(group[part].tolist()) for part in parts.values()]
    assert not held[0] & held[1] | held[0] & held[2] | held[1] & held[2]
    assert all(held)
    assert sum(map(len, parts.values())) == len(group)


def test_groups_are_dealt_so_that_classes_and_sizes_come_out_even() -> None:
    group = np.repeat(np.arange(200), np.tile([2, 4, 6, 8], 50))
    strata = np.where(group % 10 == 0, 1, 0)
    for name, part in split_samples(strata, group).items():
        assert len(part) / len(group) == pytest.approx(SHARES[name], abs=0.03)
        assert np.mean(strata[part]) == pytest.approx(np.mean(strata), abs=0.03)


def test_the_rarest_class_is_in_every_split_if_it_has_five_samples() -> None:
    strata = np.r_[np.zeros(500, dtype=int), np.full(5, 1)]
    assert all((strata[part] == 1).any() for part in split_samples(strata).values())


def test_equal_seeds_give_equal_splits_and_others_do_not() -> None:
    strata = np.arange(100) % 4
    first, again, other = (split_samples(strata, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in SPLITS)
    assert not np.array_equal(first["test"], other["test"])


def test_consecutive_samples_are_split_into_blocks_of_neighbours_with_all_classes() -> None:
    strata = np.r_[np.zeros(30, dtype=int), np.ones(70, dtype=int)]
    parts = split_samples(strata, consecutive=True)
    assert [len(parts[name]) for name in SPLITS] == [70, 15, 15]
    assert all((np.diff(part) == 1).all() for part in parts.values())
    assert set(strata[parts["train"]]) == {0, 1}
    names = np.array(["train"] * 40 + ["test"] * 10)
    given = split_samples(np.zeros(50), given=names, consecutive=True)
    assert (np.diff(given["validation"]) == 1).all()
    assert given["test"].tolist() == list(range(40, 50))
    groups = np.arange(100) // 10
    kept = split_samples(strata, groups, consecutive=True)
    assert not set(groups[kept["train"]]) & set(groups[kept["test"]])


def test_samples_without_a_label_are_left_out() -> None:
    strata = np.r_[np.full(10, -1), np.zeros(30, dtype=int)]
    assert min(min(part) for part in split_samples(strata).values()) == 10


def test_the_users_split_is_kept() -> None:
    given_names = np.array(["test", "train", "validation", "train"])
    parts = split_samples(np.zeros(4), given=given_names)
    assert {n: part.tolist() for n, part in parts.items()} == {"train": [1, 3], "validation": [2], "test": [0]}


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_split_that_the_user_does_not_have_is_taken_out_of_train(missing: str) -> None:
    other = {"validation": "test", "test": "validation"}[missing]
    names = np.array(["train"] * 100 + [other] * 20)
    groups = np.arange(120) // 4
    parts = split_samples(np.arange(120) % 2, groups, given=names)
    assert parts[other].tolist() == list(range(100, 120))
    assert len(parts[missing]) == pytest.approx(100 * 0.15 / 0.85, abs=4)
    assert not set(groups[parts["train"]]) & set(groups[parts[missing]])
    assert max(parts[missing]) < 100


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train", "tset", "validation"], r"sample 1: expected train, .*, test, got 'tset'; did you mean 'test'\?"),
        (["train", "train", "dev"], r"sample 2: .* got 'dev'; did you mean 'validation'\?"),
        (["test", "test", "validation"], "expected samples of 'train', got none"),
        (["train", "test", "test"], "expected at least 2 samples for train, validation, got 1"),
    ],
)
def test_a_split_that_cannot_be_used_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_samples(np.zeros(3), given=np.array(names))
