"""Moments of a stream: as if it had been seen at once, exact where the mean is large, without what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.moments import Moments, is_constant, scale_of


@given(seed=st.integers(0, 1000), size=st.integers(1, 40), missing=st.floats(0, 0.9))
def test_any_blocks_give_the_moments_of_the_whole(seed: int, size: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(1e6, 1.0, (60, 2))
    values[rng.random((60, 2)) < missing] = np.nan
    values[0] = 1e6
    moments = Moments(2)
    for start in range(0, 60, size):
        moments.update(values[start : start + size])
    np.testing.assert_allclose(moments.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(moments.variance, np.nanvar(values, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(moments.minimum, np.nanmin(values, axis=0))
    np.testing.assert_array_equal(moments.maximum, np.nanmax(values, axis=0))
    np.testing.assert_array_equal(moments.missing, np.isnan(values).sum(axis=0))


def test_a_channel_without_values_has_no_variance() -> None:
    moments = Moments(2)
    moments.update(np.zeros((0, 2)))
    moments.update(np.array([[np.nan, 1]]))
    assert moments.count.tolist() == [0, 1]
    assert moments.variance.tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float16", "float32", "bool"])
def test_any_type_of_numbers_is_gathered(kind: str) -> None:
    moments = Moments(1)
    moments.update(np.array([0, 1, 1, 0]).astype(kind)[:, None])
    assert (moments.mean.item(), moments.variance.item()) == (0.5, 0.25)


def test_infinite_values_are_seen_in_the_mean() -> None:
    moments = Moments(1)
    moments.update(np.array([[1.0], [np.inf]]))
    moments.update(np.array([[2.0]]))
    assert not np.isfinite(moments.mean).any()


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1.0, 1e9, 1e30])
def test_whether_values_are_constant_does_not_depend_on_their_unit(unit: float) -> None:
    constant, differing = Moments(1), Moments(1)
    constant.update((np.full((9, 1), 0.3) * unit).astype("float32"))
    differing.update(np.array([[0.3], [0.30001]]) * unit)
    assert is_constant(constant.mean.item(), constant.variance.item())
    assert not is_constant(differing.mean.item(), differing.variance.item())
    assert scale_of(differing.mean, differing.variance) == pytest.approx((5e-6 * unit,))
