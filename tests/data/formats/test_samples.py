"""Samples read in parts: what is read is what is there, however it is divided."""

from __future__ import annotations

import numpy as np

from menndl_dask.data.formats.chunk_grid import blocks, chunk_of_image, sample_blocks
from menndl_dask.data.formats.content import Pieces
from menndl_dask.data.formats.samples import Changed, Reduced, Separate, Stacked, equal_sizes, samples_of, whole


def test_samples_may_lie_along_any_axis() -> None:
    values = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    samples = Stacked(values, 2)
    assert len(samples) == 5
    assert samples.size(0) == (3, 4)
    np.testing.assert_array_equal(
        samples.read(1, 3, (slice(0, 2), slice(1, 4))), values[:2, 1:4, 1:3].transpose(2, 0, 1)
    )


def test_an_array_without_samples_is_one() -> None:
    values = np.arange(12).reshape(3, 4)
    samples = samples_of(values, None)
    assert len(samples) == 1
    np.testing.assert_array_equal(samples.read(0, 1, whole((3, 4)))[0], values)


def test_pieces_may_differ_in_size_and_say_so() -> None:
    pieces = Pieces([np.zeros((3, 4)), np.ones((5, 4))])
    assert pieces.shape == (2, -1, 4)
    samples = Separate(pieces.items)
    assert not equal_sizes(samples)
    assert samples.read(1, 2, (slice(0, 2), slice(0, 1))).tolist() == [[[1], [1]]]


def test_values_are_changed_while_they_are_read() -> None:
    colours = np.arange(24, dtype="uint8").reshape(2, 2, 2, 3)
    red = Reduced(Stacked(colours), 2, lambda values: values[..., 0], colours.dtype)
    assert red.size(0) == (2, 2)
    double = Changed(red, lambda values: values * 2, np.dtype("uint8"))
    assert double.read(1, 2, (slice(0, 1), slice(0, 2))).tolist() == [[[24, 30]]]


def test_blocks_cover_everything_once_in_whole_chunks() -> None:
    values = np.zeros((5, 40, 30), dtype="uint8")
    for chunk in ((2, 40, 30), (1, 16, 8)):
        for start, stop, region in blocks(Stacked(values), chunk, 1):
            values[(slice(start, stop), *region)] += 1
            assert all(part.start % side == 0 for part, side in zip(region, chunk[1:], strict=True))
    assert (values == 2).all()


def test_blocks_of_samples_of_any_size_cover_everything_once() -> None:
    items = [np.zeros(size, dtype="uint8") for size in ((4, 5), (4, 5), (7, 3), (6000, 7000))]
    for start, stop, region in sample_blocks(Separate(items)):
        for item in items[start:stop]:
            item[region] += 1
    assert all((item == 1).all() for item in items)


def test_chunks_of_large_images_have_sides_of_a_power_of_two_and_some_megabytes() -> None:
    for size, itemsize, channel in (((30000, 20000), 2, None), ((9, 5000, 7000, 8), 4, 3), ((300, 300, 9000), 1, None)):
        chunk = chunk_of_image(size, itemsize, channel)
        assert 2**19 < itemsize * np.prod(chunk) <= 4 * 2**20
        cut = [side for side, length in zip(chunk, size, strict=True) if side != length]
        assert cut
        assert all(side & (side - 1) == 0 for side in cut)
    assert chunk_of_image((100, 200), 8) == (100, 200)
