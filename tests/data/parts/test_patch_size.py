"""Patch sizes: within images, memory and context, as long along each axis, and such that networks can halve them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.data.parts import patch_size
from menndl_dask.data.parts.patch_size import choose_patch, most_tiles, patches_per_epoch, read_patch
from menndl_dask.errors import UserError

_SIDES = st.integers(16, 3000)


@given(size=st.lists(_SIDES, min_size=2, max_size=3), spacing=st.lists(st.floats(1, 12), min_size=3, max_size=3))
def test_patches_fit_into_images_and_into_the_budget(size: list[int], spacing: list[float]) -> None:
    chosen = choose_patch(size, size, spacing[: len(size)])
    assert math.prod(chosen) <= patch_size.PIXELS[len(size)]
    assert all(side <= length for side, length in zip(chosen, size, strict=True))
    assert all(side % (4 if len(size) == 3 else 8) == 0 for side in chosen)


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        ((1000, 1000), (), (128, 128)),
        ((200, 300), (1.0, 1.0), (128, 128)),
        ((48, 2000), (), (48, 192)),  # a narrow strip leaves room along the other axis, up to the context
        ((100, 160), (), (96, 96)),  # square, so that it can be turned
        ((300, 300, 300), (), (32, 32, 32)),
        ((50, 100, 200), (), (32, 32, 32)),
        ((12, 600, 600), (), (12, 48, 48)),
        ((100, 1000, 1000), (40.0, 5.0, 5.0), (8, 64, 64)),
        ((100_000,), (), (4096,)),
    ],
)
def test_typical_images_get_the_patches_that_an_expert_would_take(
    size: tuple[int, ...], spacing: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    assert choose_patch(size, size, spacing) == expected


def test_an_image_that_is_divided_has_room_for_patches_in_each_part() -> None:
    assert choose_patch((256, 256), (256, 256), divided=256) == (40, 40)
    assert choose_patch((2048, 2048), (2048, 2048), divided=2048) == (128, 128)


def test_a_tiny_image_among_large_ones_does_not_make_patches_tiny() -> None:
    assert choose_patch((9, 12), (500, 400)) == (64, 64)
    assert choose_patch((40, 40), (40, 40)) == (40, 40)


def test_more_memory_gives_larger_patches_up_to_the_context_of_networks() -> None:
    big = (4000, 4000)
    assert choose_patch(big, big, pixels=192 * 192) == (192, 192)
    assert choose_patch(big, big, pixels=10**9) == (192, 192)


@pytest.mark.parametrize("patch", ["large", (8, 8, 8), -4, "8,8,8", 1.5j, ""])
def test_a_patch_that_is_no_size_is_refused(patch: object) -> None:
    with pytest.raises(UserError, match="patch: expected whole, one number of pixels, or 2, one for each spatial axis"):
        read_patch(patch, 2)  # type: ignore[arg-type]


def test_an_epoch_covers_the_training_images_within_limits() -> None:
    assert patches_per_epoch(100 * 64 * 64, (64, 64)) == 100
    assert patches_per_epoch(64 * 64, (64, 64)) == 64
    assert patches_per_epoch(10**10, (64, 64)) == 2048


def test_a_validation_costs_half_an_epoch_at_most() -> None:
    assert most_tiles([(64, 64)] * 4, (64, 64), 32) is None
    assert most_tiles([(512, 512)] * 4, (64, 64), 32) == 32
