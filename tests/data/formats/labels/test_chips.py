"""Chips are the parts of images side by side, and get their class from the share of their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.data.formats.labels.chips import Chips, chip_places, class_shares, share_classes
from menndl_dask.data.formats.samples import Separate, Stacked, whole
from menndl_dask.errors import DataError


def test_chips_are_the_parts_of_images_of_any_size() -> None:
    images = [np.arange(5 * 7 * 2).reshape(5, 7, 2), np.arange(4 * 4 * 2).reshape(4, 4, 2)]
    places, beyond = chip_places([(5, 7), (4, 4)], 2)
    assert len(places) == 6 + 4
    assert beyond == 35 - 24
    chips = Chips(Separate(images), places, 2, (0, 1))
    read = chips.read(0, 10, whole(chips.size(0)))
    for (image, (y, x)), chip in zip(places, read, strict=True):
        np.testing.assert_array_equal(chip, images[image][y : y + 2, x : x + 2])
    np.testing.assert_array_equal(chips.read(3, 9, (slice(0, 1), slice(1, 2), slice(1, 2))), read[3:9, :1, 1:, 1:])


def test_channels_may_come_first() -> None:
    images = np.arange(3 * 4 * 6).reshape(1, 3, 4, 6)
    chips = Chips(Stacked(images), chip_places([(4, 6)], 3)[0], 3, (1, 2))
    np.testing.assert_array_equal(chips.read(1, 2, whole(chips.size(0)))[0], images[0, :, :3, 3:])


def test_the_share_leaves_out_pixels_without_a_label() -> None:
    label = np.array([[[1, 0, 9, 9], [9, 9, 9, 9]]])
    chips = Chips(Stacked(label), chip_places([(2, 4)], 2)[0], 2, (0, 1))
    shares = class_shares(chips, 2, 9)
    assert shares.labelled.tolist() == [2, 0]
    assert shares.of([1]).tolist() == [0.5, 0]


def test_a_name_stands_for_the_classes_that_end_with_it() -> None:
    classes = ["Clear", "thin Cloud", "cloud shadow"]
    assert share_classes("cloud=0.25", classes) == ((1,), "cloud", 0.25)
    assert share_classes("clear+cloud shadow", classes)[0] == (0, 2)
    for wanted, message in (
        ("clod", "expected the name of a class, got 'clod'"),
        ("clear=2", "expected a share above 0 and up to 1"),
        ("clear+cloud+cloud shadow", "got all of them"),
    ):
        with pytest.raises(DataError, match=message):
            share_classes(wanted, classes)
