"""Resizing: means are kept, missing values are left out, and parts add up to the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from menndl_dask.data.resize import resize, resize_weights
from menndl_dask.data.store import variable
from menndl_dask.data.store.variable import Block
from tests import stores


@pytest.mark.parametrize(("before", "after"), [(10, 5), (10, 3), (7, 7), (5, 10), (1, 4), (3, 1)])
def test_each_new_pixel_is_a_mean_of_old_ones(before: int, after: int) -> None:
    weights = resize_weights(before, after)
    assert weights.shape == (after, before)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    if after <= before:
        np.testing.assert_allclose(weights.sum(axis=0), after / before)


def test_the_mean_of_an_image_stays_when_it_shrinks() -> None:
    image = np.random.default_rng(0).normal(size=(31, 20, 2))
    small = resize(image, (8, 7))
    np.testing.assert_allclose(small.mean(axis=(0, 1)), image.mean(axis=(0, 1)), rtol=1e-5)


def test_missing_values_are_left_out() -> None:
    image = np.array([[1.0], [np.nan], [np.nan], [np.nan]])
    np.testing.assert_array_equal(resize(image, (2,)), [[1.0], [np.nan]])


def test_an_image_that_is_read_in_parts_is_resized_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from menndl_dask.data.dataset import open_dataset

    data = stores.classification(samples=6)
    data.image.values[2, 1, 1, 0] = np.nan
    path = stores.write(data, tmp_path / "data.zarr", chunk=2, side=3)
    monkeypatch.setattr(variable, "BLOCK_BYTES", 80)
    view = open_dataset(str(path), ("image",), "label").resized((3, 4)).views[0]
    expected = np.stack([resize(image, (3, 4)) for image in data.image.values])
    np.testing.assert_allclose(view.images(Block(0, 6)), expected, rtol=1e-5)
