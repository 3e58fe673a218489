"""Masks as people draw them become class numbers, and what was changed is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from menndl_dask.data.formats.labels.mask import Mask, read_mask, value_counts
from menndl_dask.data.formats.samples import Separate, Stacked
from menndl_dask.errors import DataError

DRAWN = np.array([[[0, 1, 2], [2, 1, 0]], [[1, 1, 1], [0, 0, 2]]])
COLOURS = np.array([[10, 0, 0], [0, 0, 200], [0, 90, 0]], dtype="uint8")


def _read(values: NDArray[Any], **options: Any) -> tuple[list[Any], Mask]:
    mask = read_mask(Stacked(values), 2, **options)
    region = tuple(slice(0, length) for length in mask.samples.size(0))
    return mask.samples.read(0, len(mask.samples), region).tolist(), mask


def test_class_numbers_stay_as_they_are_in_the_smallest_type() -> None:
    values, mask = _read(DRAWN)
    assert values == DRAWN.tolist()
    assert mask.samples.dtype == np.uint8
    assert mask.counts == {0: 4, 1: 5, 2: 3}
    assert mask.notes == ()


@pytest.mark.parametrize(
    ("white", "layout"),
    [(255, "plain"), (65535, "plain"), (255, "one channel"), (65535, "one channel"), (255, "grey colours")],
)
def test_black_and_white_is_0_and_1(white: int, layout: str) -> None:
    binary = (DRAWN > 0).astype("uint8" if white == 255 else "uint16")
    values = binary * white
    if layout == "one channel":
        values = values[..., None]
    if layout == "grey colours":
        values = np.repeat(values[..., None], 3, axis=-1)
    read, mask = _read(values)
    assert read == binary.tolist()
    assert any(f"{white} became class 1" in note for note in mask.notes)


def test_black_and_white_that_compression_has_blurred_is_0_and_1() -> None:
    drawn = np.zeros((1, 40, 40), dtype="int64")
    drawn[:, 10:30, 10:30] = 255
    noise = np.random.default_rng(0).integers(0, 9, drawn.shape)
    read, mask = _read(np.abs(drawn - noise).astype("uint8"))
    assert read == (drawn > 0).astype(int).tolist()
    assert "as in JPEG files: above 127 became class 1" in mask.notes[-1]
    grey = np.arange(1600).reshape(1, 40, 40) % 200
    assert _read(grey)[1].notes == ()


def test_colours_are_classes_in_their_order() -> None:
    read, mask = _read(COLOURS[DRAWN])
    assert mask.classes == ("#0000c8", "#005a00", "#0a0000")
    assert read == np.array([2, 0, 1])[DRAWN].tolist()
    assert mask.counts == {0: 5, 1: 3, 2: 4}


def test_colours_may_be_named_and_others_have_no_label() -> None:
    read, mask = _read(COLOURS[DRAWN], classes=["#005A00=forest", "#0a0000=town"])
    assert mask.classes == ("forest", "town")
    assert read == np.array([1, 255, 0])[DRAWN].tolist()
    assert mask.fill == 255
    assert mask.notes[-1] == "5 pixels of other colours have no label: #0000c8"
    with pytest.raises(DataError, match="expected a name for each of the 3 colours #0000c8, "):
        _read(COLOURS[DRAWN], classes=["forest", "town"])


def test_too_many_colours_are_told() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), dtype="uint8")
    with pytest.raises(DataError, match="a mask saved as JPEG has changed colours"):
        read_mask(Stacked(noise), 2)


def test_codes_of_a_map_are_numbered_and_named() -> None:
    read, mask = _read(np.array([40, 10, 95])[DRAWN])
    assert read == np.array([1, 0, 2])[DRAWN].tolist()
    assert mask.classes == ("10", "40", "95")
    assert mask.notes == ("values 10, 40, 95 became the class numbers 0 to 2",)


@pytest.mark.parametrize("void", [255, -1])
def test_a_value_far_from_the_classes_is_no_label(void: int) -> None:
    _, mask = _read(np.array([0, 1, void])[DRAWN])
    assert mask.fill == void
    assert f"3 pixels with the value {void} are taken to have no label" in mask.notes[0]


def test_black_and_white_with_names_is_no_missing_label() -> None:
    read, mask = _read((DRAWN > 0) * 255, classes=["sky", "cell"])
    assert read == (DRAWN > 0).astype(int).tolist()
    assert mask.fill is None


def test_a_void_value_is_found_among_some_of_the_named_classes() -> None:
    read, mask = _read(np.array([0, 3, 255])[DRAWN], classes=["a", "b", "c", "d"])
    assert mask.fill == 255
    assert read == np.array([0, 3, 255])[DRAWN].tolist()


def test_values_that_are_no_class_numbers_are_told() -> None:
    with pytest.raises(DataError, match=r"expected class numbers in the pixels, got 0\.5"):
        read_mask(Stacked(np.full((2, 4, 4), 0.5)), 2)
    with pytest.raises(DataError, match="--instances boundary"):
        value_counts(Stacked(np.arange(70_000).reshape(1, 100, 700)))


def test_numbered_objects_become_boundaries() -> None:
    objects = np.zeros((1, 6, 8), dtype="int64")
    objects[:, :, 4:] = 70_001
    read, mask = _read(objects, boundary=2)
    assert read[0][0] == [0, 0, 1, 1, 1, 1, 0, 0]
    assert mask.classes == ("inside", "boundary")
    assert "within 2 pixels of another number" in mask.notes[-1]


def test_masks_of_unequal_size_are_read_too() -> None:
    mask = read_mask(Separate([np.full((3, 4), 255, "uint8"), np.zeros((5, 2), "uint8")]), 2)
    assert mask.counts == {0: 10, 1: 12}


def test_pixels_that_are_nan_have_no_label() -> None:
    drawn = DRAWN.astype("float32")
    drawn[0, 0, 0] = np.nan
    values, mask = _read(drawn)
    assert (values[0][0][0], mask.fill, mask.counts[255]) == (255, 255, 1)
    assert mask.notes == ("1 pixel without a value (NaN) have no label",)
    assert _read(drawn, fill=-9999)[1].fill == -9999


@pytest.mark.parametrize("kind", ["uint8", "bool", "float32", "int64"])
def test_channels_with_a_single_one_are_classes_in_their_order(kind: str) -> None:
    rows = np.eye(3)[DRAWN]
    for one_hot in (rows, np.moveaxis(rows, -1, 1)):
        values, mask = _read(one_hot.astype(kind))
        assert values == DRAWN.tolist()
        assert mask.notes == ("masks of 3 channels with a single 1 became class numbers",)
