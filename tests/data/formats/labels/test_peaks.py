"""Objects in predicted maps are found where a table of positions had put them."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.formats.content import SourceArray
from menndl_dask.data.formats.labels.peaks import middles, peaks, table
from menndl_dask.data.formats.labels.points import draw_points

PLACES = [(5.0, 8.0), (5.3, 20.6), (14.0, 14.0), (0.0, 30.0)]


@pytest.mark.parametrize("heat", [None, 2.0])
def test_positions_come_back_from_discs_and_heat_maps(heat: float | None) -> None:
    columns = {axis: SourceArray(np.array(PLACES)[:, place]) for place, axis in enumerate("yx")}
    drawn, classes, _ = draw_points(columns, [(20, 32)], ("y", "x"), (), 2, heat)
    image = drawn.read(0, 1, (slice(0, 20), slice(0, 32)))[0]
    found = peaks(image) if heat else middles(image, classes)
    assert len(found) == len(PLACES)
    for place in PLACES:
        distances = [np.hypot(*np.subtract(place, position.place)) for position in found]
        assert min(distances) < (1.2 if place[0] == 0 else 0.5)  # at the edge, half of an object is seen


def test_low_and_near_peaks_and_missing_values_are_no_objects() -> None:
    values = np.full((12, 12), np.nan)
    values[2, 2], values[2, 4], values[8, 8], values[8, 9], values[11, 0] = 0.9, 0.8, 0.7, 0.7, 0.4
    found = peaks(values, distance=2)
    assert [(p.place, p.what) for p in found] == [((2.0, 2.0), "0.9"), ((8.0, 8.5), "0.7")]
    assert len(peaks(values, distance=1)) == 3
    assert peaks(np.zeros((3, 3))) == []


def test_a_class_without_a_label_has_no_objects_and_names_with_commas_are_quoted() -> None:
    numbers = np.array([[0, 255, 1]])
    found = middles(numbers, ["background", "cell"], fill=255)
    assert [position.what for position in found] == ["cell"]
    assert table([("a,b.png", found)], "file", ("y", "x"), "class").splitlines()[1] == '"a,b.png",0.00,2.00,cell'
