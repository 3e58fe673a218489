"""Positions become discs, in the image and at the place that the table names."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.formats.content import SourceArray
from menndl_dask.data.formats.labels.points import Discs, draw_points, position_columns
from menndl_dask.errors import DataError


def _table(**columns: list[object]) -> dict[str, SourceArray]:
    return {name: SourceArray(np.array(values)) for name, values in columns.items()}


def _drawn(discs: Discs) -> np.ndarray:
    return np.concatenate([discs.read(n, n + 1, tuple(map(slice, [0] * len(s), s))) for n, s in enumerate(discs.sizes)])


def test_discs_have_the_radius_and_the_class_of_the_position() -> None:
    table = _table(x=[4.0, 12.0], y=[5.0, 2.0], kind=["Si", "C"], frame=[1, 0])
    discs, classes, note = draw_points(table, [(9, 16)] * 2, ("y", "x"), (), 2)
    drawn = _drawn(discs)
    assert classes == ("background", "C", "Si")
    y, x = np.ogrid[:9, :16]
    np.testing.assert_array_equal(drawn[1] == 2, (y - 5) ** 2 + (x - 4) ** 2 <= 4)
    np.testing.assert_array_equal(drawn[0] == 1, (y - 2) ** 2 + (x - 12) ** 2 <= 4)
    assert note == "2 positions became discs of radius 2 pixels, by the column frame counted from 0"
    region = (slice(3, 7), slice(3, 9))
    np.testing.assert_array_equal(discs.read(1, 2, region)[0], drawn[1][region])


def test_volumes_need_z_and_frames_may_be_counted_from_one() -> None:
    discs, _, _ = draw_points(_table(x=[1], y=[2], z=[3]), [(6, 6, 6)], ("z", "y", "x"), (), 1)
    assert _drawn(discs).sum() == 7
    with pytest.raises(DataError, match="expected columns z, y, x for positions in images"):
        draw_points(_table(x=[1], y=[2]), [(6, 6, 6)], ("z", "y", "x"), (), 1)
    _, _, note = draw_points(_table(x=[1, 1], y=[2, 2], slice=[1, 2]), [(6, 6)] * 2, ("y", "x"), (), 1)
    assert note.endswith("counted from 1")


def test_positions_outside_of_the_image_or_of_no_image_are_told() -> None:
    with pytest.raises(DataError, match=r"row 2: expected a position in pixels within 6 x 8 \(y x\), got y 6, x 1"):
        draw_points(_table(x=[1, 1], y=[2, 6]), [(6, 8)], ("y", "x"), (), 1)
    with pytest.raises(DataError, match="as there are 2 images; found x, y"):
        draw_points(_table(x=[1], y=[2]), [(6, 8)] * 2, ("y", "x"), (), 1)
    with pytest.raises(DataError, match="column image: expected names of files such as a"):
        draw_points(_table(x=[1], y=[2], image=["c.png"]), [(6, 8)] * 2, ("y", "x"), ("a.png", "b.png"), 1)


def test_columns_of_positions_are_found_by_name_and_hold_numbers() -> None:
    assert position_columns(_table(X=[1.0], Y=[2.0], id=[3])) == {"x": "X", "y": "Y"}
    assert position_columns(_table(x=["a"], y=[2.0])) == {}


def test_heat_maps_have_their_peaks_at_the_positions() -> None:
    table = _table(x=[4.0, 12.5, 6.0], y=[5.0, 2.0, 5.0], kind=["Si", "C", "C"], frame=[0, 1, 0])
    maps, classes, note = draw_points(table, [(9, 16)] * 2, ("y", "x"), (), 3, heat=1.5)
    assert (maps.dtype, len(maps), maps.size(1), classes) == (np.float32, 2, (9, 16), ())
    assert note == (
        "3 positions became Gaussians of height 1 with sigma 1.5 pixels, by the column frame counted from 0; a heat "
        "map does not tell their 2 classes apart"
    )
    whole = maps.read(0, 2, (slice(0, 9), slice(0, 16)))
    y, x = np.ogrid[:9, :16]
    expected = np.exp(-((y - 2) ** 2 + (x - 12.5) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(whole[1], expected, atol=5e-6)
    assert whole[0, 5, 5] == pytest.approx(np.exp(-1 / 4.5))  # between two positions: the higher one, not the sum
    np.testing.assert_array_equal(maps.read(0, 1, (slice(3, 7), slice(3, 9)))[0], whole[0, 3:7, 3:9])
