"""Regions: parts are neighbours with gaps, large enough for a patch, and alike in classes where that can be had."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.data.parts.regions import Region, cut, cut_axis
from menndl_dask.errors import DataError
from menndl_dask.problem import SPLITS


@given(length=st.integers(3, 5000), least=st.integers(1, 200), gap=st.integers(0, 100))
def test_parts_never_overlap_and_none_is_empty(length: int, least: int, gap: int) -> None:
    parts = sorted(cut(length, SPLITS, least=least, gap=gap).values())
    assert parts[0][0] == 0
    assert parts[-1][1] == length
    assert all(stop > start for start, stop in parts)
    gaps = [after[0] - before[1] for before, after in pairwise(parts)]
    assert all(0 <= width <= gap for width in gaps)
    assert len(set(gaps)) == 1


@given(least=st.integers(8, 64), factor=st.integers(4, 40))
def test_each_part_holds_a_patch_and_gaps_are_whole_where_there_is_room(least: int, factor: int) -> None:
    parts = cut(least * factor, SPLITS, least=least, gap=least // 2)
    assert all(stop - start >= least for start, stop in parts.values())
    assert parts["validation"][0] - parts["train"][1] == least // 2
    assert parts["train"][1] - parts["train"][0] == max(stop - start for start, stop in parts.values())


def test_a_long_image_is_divided_in_the_usual_shares() -> None:
    parts = cut(10_000, SPLITS, least=64, gap=32)
    assert {name: (stop - start) / 9936 for name, (start, stop) in parts.items()} == pytest.approx(
        {"train": 0.7, "validation": 0.15, "test": 0.15}, abs=0.001
    )


def test_parts_stand_in_the_order_in_which_each_has_all_classes() -> None:
    profile = np.zeros((100, 2), dtype=int)
    profile[:, 0] = 1
    profile[:45, 1] = 1  # the second class is in the first part of the image only
    parts = cut(100, SPLITS, profile=profile)
    assert all(profile[slice(*span), 1].sum() > 0 for span in (parts["train"], parts["validation"], parts["test"]))
    assert cut(100, SPLITS, profile=np.ones((100, 2)))["train"][0] == 0


def test_what_has_no_room_for_its_parts_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least 3 for train, validation, test, got 2"):
        cut(2, SPLITS)


def test_a_region_knows_its_size_and_images_are_divided_along_the_longest_axis() -> None:
    assert Region(0, (0, 4), (3, 10)).size == (3, 6)
    assert cut_axis((5, 9, 9)) == 1
