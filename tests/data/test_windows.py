"""Windows over large images: they cover the image, and their predictions are counted or averaged."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.windows import evenly_spaced, pooled, window_starts


@pytest.mark.parametrize(
    ("size", "window"), [((10, 7), (4, 4)), ((4, 9), (4, 9)), ((23,), (5,)), ((9, 5, 8), (3, 4, 8))]
)
def test_windows_cover_an_image_and_stay_inside(size: tuple[int, ...], window: tuple[int, ...]) -> None:
    starts = window_starts(size, window)
    seen = np.zeros(size, bool)
    for start in starts:
        part = seen[tuple(slice(first, first + side) for first, side in zip(start, window, strict=True))]
        assert part.shape == window
        part[...] = True
    assert seen.all()
    assert len(starts) == np.prod([-(-pixels // side) for pixels, side in zip(size, window, strict=True)])


def test_an_image_smaller_than_a_window_is_in_its_middle() -> None:
    assert window_starts((3, 20), (9, 20)).tolist() == [[-3, 0]]


def test_some_of_the_windows_are_from_all_of_the_image() -> None:
    starts = window_starts((100, 100), (10, 10), most=4)
    assert len(starts) == 4
    assert starts[0, 0] < 30
    assert starts[-1, 0] > 60


def test_numbers_are_evenly_spaced() -> None:
    assert evenly_spaced(4, 100).tolist() == [0, 1, 2, 3]
    assert evenly_spaced(1000, 0).tolist() == [500]


def test_votes_are_counted_and_a_tie_is_decided_by_the_mean() -> None:
    predictions = np.array([[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 0.9, 0.1]], "float32")
    assert pooled(predictions, "vote").argmax() == 0
    assert pooled(predictions, "mean").argmax() == 1
    assert pooled(predictions[1:], "vote").argmax() == 1
    assert pooled(predictions, "vote").sum() == pytest.approx(1.0)
    np.testing.assert_allclose(pooled(predictions, "mean"), [1 / 3, 1.7 / 3, 0.1], rtol=1e-6)
