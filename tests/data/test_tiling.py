"""Splitting images into tiles, and stitching the predictions for the tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.data.tiling import (
    Tiling,
    block_size,
    blocks,
    cost_factor,
    split_tiles,
    stitch,
)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    tile = draw(st.integers(1, 12))
    margin = draw(st.none() | st.integers(0, (tile - 1) // 2))
    return Tiling.of(draw(st.integers(1, 40)), tile, margin, draw(st.sampled_from([None, 1, 2, 4, 8])))


def predict(image: np.ndarray, along: Sequence[Tiling], apply: Any, pixels: int, batch: int = 3) -> np.ndarray:
    """Predict an image block by block, in batches of tiles."""
    whole = np.full(image.shape, np.nan, np.float32)
    for block in blocks(along, pixels):
        tiles = np.stack(list(split_tiles(image[tuple(span.read for span in block)], block, along)))
        outputs = [out for start in range(0, len(tiles), batch) for out in apply(tiles[start : start + batch])]
        where = tuple(span.predicted for span in block)
        assert np.isnan(whole[where]).all()
        whole[where] = stitch(outputs, block, along)
    return whole


@given(st.lists(tilings(), min_size=1, max_size=3), st.integers(1, 2000), st.integers(1, 9))
def test_tiles_put_together_are_the_image_whatever_the_sizes(along: list[Tiling], pixels: int, batch: int) -> None:
    shape = [tiling.size for tiling in along]
    image = np.arange(np.prod(shape) * 2, dtype=np.float32).reshape(*shape, 2) + 1
    sides = tuple(t.tile for t in along)

    def apply(tiles: np.ndarray) -> np.ndarray:
        assert len(tiles) <= batch and tiles.shape[1:] == (*sides, 2)
        return tiles

    assert np.allclose(predict(image, along, apply, pixels, batch), image, rtol=1e-6)


def smoothed(image: np.ndarray, reach: int) -> np.ndarray:
    """Return the sum over the pixels within a reach along the first axis: a network whose context is known."""
    padded = np.pad(image, [(reach, reach), *[(0, 0)] * (image.ndim - 1)])
    return sum(padded[shift : shift + len(image)] for shift in range(2 * reach + 1))  # type: ignore[no-any-return]


@given(tilings(), st.integers(1, 60))
def test_the_prediction_by_tiles_is_that_at_once_where_the_context_fits_into_the_margin(t: Tiling, pixels: int) -> None:
    image = np.random.default_rng(0).normal(size=(t.size, 1)).astype(np.float32)
    found = predict(image, [t], lambda tiles: [smoothed(tile, t.margin) for tile in tiles], pixels)
    beyond = max(0, t.starts[-1] + t.tile - t.size)  # there it is continued by reflection, not by zeros
    inside = slice(0, t.size - t.margin if beyond else t.size)
    assert np.allclose(found[inside], smoothed(image, t.margin)[inside], atol=1e-5)


@given(tilings(), st.integers(1, 60), st.integers(1, 60))
def test_the_result_does_not_depend_on_the_blocks(tiling: Tiling, one: int, other: int) -> None:
    image = np.random.default_rng(0).normal(size=(tiling.size, 1)).astype(np.float32)

    def apply(tiles: np.ndarray) -> np.ndarray:  # the answer depends on the whole tile
        return tiles * tiles.sum(axis=(1, 2), keepdims=True)

    assert np.allclose(predict(image, [tiling], apply, one), predict(image, [tiling], apply, other), atol=1e-5)


@given(tilings(), st.integers(1, 60))
def test_weights_sum_to_one_and_are_zero_in_the_margin(tiling: Tiling, most: int) -> None:
    for span in tiling.spans(tiling.step(most)):
        weights = tiling.weights(span)
        assert np.allclose(weights.sum(axis=0), 1)
        for tile, of_tile in zip(span.tiles, weights, strict=True):
            used = np.flatnonzero(of_tile) + span.start
            assert used[0] >= tile + tiling.margin * (tile > 0)
            assert used[-1] < tile + tiling.tile - tiling.margin * (tile + tiling.tile < tiling.size)


@given(tilings(), st.integers(1, 50))
def test_tiles_start_on_one_grid_and_blocks_are_divided_by_the_stride(tiling: Tiling, most: int) -> None:
    spans = tiling.spans(tiling.step(most))
    assert [span.start for span in spans][1:] == [span.stop for span in spans][:-1]
    assert all(span.start % tiling.stride == 0 for span in spans)
    assert all(0 <= span.low < span.high <= tiling.size for span in spans)
    assert all(tile % tiling.multiple == 0 for span in spans for tile in span.tiles)
    assert 0 <= tiling.starts[-1] + tiling.tile - tiling.size < max(tiling.multiple, tiling.tile)


def test_neighbouring_tiles_are_blended_linearly() -> None:
    tiling = Tiling(size=14, tile=10, margin=1, stride=4)
    (span,) = tiling.spans(14)
    left, right = tiling.weights(span)
    assert tiling.blend == 4 and span.tiles == (0, 4)
    assert right[:10] == pytest.approx([0, 0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1])
    assert left[:10] == pytest.approx([1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0])


def test_an_image_that_fits_into_a_tile_is_one_tile_and_loses_nothing() -> None:
    assert Tiling.of(64, 64).spans(1000)[0].tiles == (0,)
    assert Tiling.of(65, 64).spans(1000)[0].tiles == (0, 8)
    assert cost_factor([Tiling.of(64, 64)]) == 1


def test_the_default_costs_about_two_and_a_half_times_the_image() -> None:
    assert cost_factor([Tiling.of(10_000, 64)] * 2) == pytest.approx((64 / 40) ** 2, rel=0.01)
    assert cost_factor([Tiling.of(10_000, 16), *[Tiling.of(10_000, 32)] * 2]) == pytest.approx(1.6**3, rel=0.01)
    assert cost_factor([Tiling.of(10_000, 256, 16)] * 2) == pytest.approx((256 / 208) ** 2, rel=0.02)


def test_the_image_is_continued_by_reflection() -> None:
    tiling = Tiling.of(5, 4, 1, 4)
    (span,) = tiling.spans(8)
    tiles = list(split_tiles(np.arange(5)[:, np.newaxis], (span,), [tiling]))
    assert [tile.ravel().tolist() for tile in tiles] == [[0, 1, 2, 3], [2, 3, 4, 3]]
    tiling = Tiling(3, 8, 2, 3)
    (tile,) = split_tiles(np.arange(3)[:, np.newaxis], tuple(tiling.spans(3)), [tiling])
    assert tile.ravel().tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


@pytest.mark.parametrize("size", [1, 2])
def test_images_smaller_than_the_margin_are_continued_too(size: int) -> None:
    tiling = Tiling.of(size, 8, 2)
    (tile,) = split_tiles(np.ones((size, 1)), tuple(tiling.spans(8)), [tiling])
    assert tile.shape == (8, 1) and (tile == 1).all()


def test_blocks_are_bounded_and_short_axes_are_not_divided() -> None:
    along = [Tiling.of(16, 16), Tiling.of(2000, 64), Tiling.of(3000, 64)]
    assert block_size(along, 2**20) == (16, 240, 240)
    assert block_size([Tiling.of(50, 16), Tiling.of(100, 64), Tiling.of(200, 64)]) == (50, 100, 200)
    assert len(set(blocks(along, 2**20))) == 9 * 13


def test_what_is_kept_of_each_tile_is_predicted_by_it_alone() -> None:
    along = [Tiling.of(41, 16), Tiling.of(9, 16)]
    image = np.arange(41.0 * 9).reshape(41, 9, 1)
    seen = np.zeros(41, int)
    for tile in range(len(along[0].starts)):
        block = (along[0].span_of(tile), along[1].span_of(0))
        views = image[tuple(span.read for span in block)]
        found = stitch(list(split_tiles(views, block, along)), block, along)
        np.testing.assert_allclose(found, image[tuple(span.predicted for span in block)])
        seen[block[0].predicted] += 1
    assert seen.min() == 1
    assert seen.max() == 2
