"""Cutting images into tiles and putting them together again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.data.tiling import Tiling, split_tiles, stitch


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    tile = draw(st.integers(1, 12))
    return Tiling(draw(st.integers(1, 40)), tile, draw(st.integers(0, (tile - 1) // 2)))


@given(st.lists(tilings(), min_size=1, max_size=2), st.integers(1, 50))
def test_tiles_put_together_are_the_image_whatever_the_sizes(along: list[Tiling], most: int) -> None:
    shape = [tiling.size for tiling in along]
    image = np.arange(np.prod(shape) * 2).reshape(*shape, 2)
    whole = np.full_like(image, -1)
    for block in np.ndindex(*[len(t.spans(t.step(most))) for t in along]):
        spans = [t.spans(t.step(most))[b] for t, b in zip(along, block, strict=True)]
        read = image[tuple(slice(span.low, span.high) for span in spans)]
        tiles = list(split_tiles(read, spans, along))
        assert {tile.shape[:-1] for tile in tiles} == {tuple(t.tile for t in along)}
        written = tuple(slice(span.start, span.stop) for span in spans)
        assert (whole[written] == -1).all()
        whole[written] = stitch(np.stack(tiles), spans, along)
    assert np.array_equal(whole, image)


@given(tilings(), st.integers(1, 50))
def test_blocks_are_whole_cores_so_that_a_network_sees_the_same_grid_everywhere(tiling: Tiling, most: int) -> None:
    spans = tiling.spans(tiling.step(most))
    assert [span.start for span in spans][1:] == [span.stop for span in spans][:-1]
    assert all(span.start % tiling.core == 0 for span in spans)
    assert all(0 <= span.low < span.high <= tiling.size for span in spans)


def test_an_image_that_fits_into_a_tile_is_one_tile_and_loses_nothing() -> None:
    assert Tiling(64, 64, 16).spans(1000)[0].tiles == 1
    assert Tiling(65, 64, 16).spans(1000)[0].tiles == 3


def test_the_image_is_continued_by_reflection() -> None:
    tiling = Tiling(5, 4, 1)
    (span,) = tiling.spans(8)
    tiles = list(split_tiles(np.arange(5)[:, np.newaxis], [span], [tiling]))
    assert [tile.ravel().tolist() for tile in tiles] == [[1, 0, 1, 2], [1, 2, 3, 4], [3, 4, 3, 2]]


@pytest.mark.parametrize("size", [1, 2])
def test_images_smaller_than_the_margin_are_continued_too(size: int) -> None:
    tiling = Tiling(size, 8, 2)
    (span,) = tiling.spans(8)
    (tile,) = split_tiles(np.ones((size, 1)), [span], [tiling])
    assert tile.shape == (8, 1) and (tile == 1).all()
