"""Cutting images into tiles and putting them together again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.tiling import Tiling, stitched, tiles_of


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    tile = draw(st.integers(1, 12))
    return Tiling(draw(st.integers(1, 40)), tile, draw(st.integers(0, (tile - 1) // 2)))


@given(st.lists(tilings(), min_size=1, max_size=2), st.integers(1, 50))
def test_tiles_put_together_are_the_image_whatever_the_sizes(along: list[Tiling], most: int) -> None:
    shape = [tiling.size for tiling in along]
    image = np.arange(np.prod(shape) * 2).reshape(*shape, 2)
    whole = np.full_like(image, -1)
    for block in np.ndindex(*[len(t.cuts(t.step(most))) for t in along]):
        cuts = [t.cuts(t.step(most))[b] for t, b in zip(along, block, strict=True)]
        read = image[tuple(slice(cut.low, cut.high) for cut in cuts)]
        tiles = list(tiles_of(read, cuts, along))
        assert {tile.shape[:-1] for tile in tiles} == {tuple(t.tile for t in along)}
        written = tuple(slice(cut.start, cut.stop) for cut in cuts)
        assert (whole[written] == -1).all()
        whole[written] = stitched(np.stack(tiles), cuts, along)
    assert np.array_equal(whole, image)


@given(tilings(), st.integers(1, 50))
def test_blocks_are_whole_cores_so_that_a_network_sees_the_same_grid_everywhere(tiling: Tiling, most: int) -> None:
    cuts = tiling.cuts(tiling.step(most))
    assert [cut.start for cut in cuts][1:] == [cut.stop for cut in cuts][:-1]
    assert all(cut.start % tiling.core == 0 for cut in cuts)
    assert all(0 <= cut.low < cut.high <= tiling.size for cut in cuts)


def test_an_image_that_fits_into_a_tile_is_one_tile_and_loses_nothing() -> None:
    assert Tiling(64, 64, 16).cuts(1000)[0].tiles == 1
    assert Tiling(65, 64, 16).cuts(1000)[0].tiles == 3


def test_the_image_is_continued_by_reflection() -> None:
    tiling = Tiling(5, 4, 1)
    (cut,) = tiling.cuts(8)
    tiles = list(tiles_of(np.arange(5)[:, np.newaxis], [cut], [tiling]))
    assert [tile.ravel().tolist() for tile in tiles] == [[1, 0, 1, 2], [1, 2, 3, 4], [3, 4, 3, 2]]


@pytest.mark.parametrize("size", [1, 2])
def test_images_smaller_than_the_margin_are_continued_too(size: int) -> None:
    tiling = Tiling(size, 8, 2)
    (cut,) = tiling.cuts(8)
    (tile,) = tiles_of(np.ones((size, 1)), [cut], [tiling])
    assert tile.shape == (8, 1) and (tile == 1).all()
