"""Boundaries of numbered objects are the same whether a volume is read at once or in parts."""

from __future__ import annotations

import numpy as np

from menndl_dask.data.formats.labels.boundary import Boundaries, boundaries
from menndl_dask.data.formats.samples import Stacked


def test_parts_agree_with_the_whole() -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (2, 7, 9, 8)).repeat(2, axis=3)
    whole = boundaries(numbers, 2)
    samples = Boundaries(Stacked(numbers), 2)
    for region in ((slice(0, 3), slice(4, 9), slice(2, 16)), (slice(3, 7), slice(0, 9), slice(5, 6))):
        np.testing.assert_array_equal(samples.read(0, 2, region), whole[(slice(None), *region)])


def test_pixels_without_a_label_are_no_object() -> None:
    numbers = np.array([[[4, 4, 0, 0, 4, 7, 7]]])
    found = Boundaries(Stacked(numbers), 1, fill=0).read(0, 1, (slice(0, 1), slice(0, 7)))
    assert found.tolist() == [[[0, 0, 255, 255, 1, 1, 0]]]
