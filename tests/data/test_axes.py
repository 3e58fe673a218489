"""Axes: samples, space and channels are found by name, else by place."""

from __future__ import annotations

import pytest

from menndl_dask.data.axes import Axes, image_axes
from menndl_dask.errors import DataError


@pytest.mark.parametrize(
    ("dims", "pixels", "expected"),
    [
        ("sample y x channel", "", Axes(0, (1, 2), 3)),
        ("sample y x", "", Axes(0, (1, 2))),
        ("sample z y x", "", Axes(0, (1, 2, 3))),
        ("sample time channel", "", Axes(0, (1,), 2)),
        ("sample time", "", Axes(0, (1,))),
        ("band y x sample", "", Axes(3, (1, 2), 0)),
        ("sample y x energy", "", Axes(0, (1, 2), 3)),
        ("sample u v w", "", Axes(0, (1, 2, 3))),
        ("sample u v w", "u v", Axes(0, (1, 2), 3)),
        ("sample a b d", "u v", Axes(0, (1, 2), 3)),
        ("sample z y x channel", "z y x", Axes(0, (1, 2, 3), 4)),
    ],
)
def test_axes_are_told_from_names_and_places(dims: str, pixels: str, expected: Axes) -> None:
    assert image_axes(dims.split(), "sample", pixels.split()) == expected


def test_samples_without_a_usual_name_are_the_labels_dimension_or_the_first() -> None:
    assert image_axes(["y", "x", "shot"], "shot").sample == 2
    assert image_axes(["shot", "y", "x"]).sample == 0


@pytest.mark.parametrize("dims", ["sample", "sample channel", "sample a b u v"])
def test_too_few_or_too_many_axes_are_refused(dims: str) -> None:
    with pytest.raises(DataError, match="one to three spatial ones"):
        image_axes(dims.split())
