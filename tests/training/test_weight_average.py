"""The average of weights follows a training, whatever its length, and takes the place of the weights for a while."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from menndl_dask.training.weight_average import WeightAverage


def test_late_steps_count_most_and_the_first_values_not_at_all() -> None:
    weights = keras.Variable(np.full(2, 1e6, "float32"))
    average = WeightAverage([weights])
    for step in range(1, 401):
        weights.assign(np.full(2, float(step), "float32"))
        average.update(step - 1, step)
    # the mean of N numbers, each weighted by its cube, is 4/5 of N
    np.testing.assert_allclose(average.variables[0].numpy(), 0.8 * 400, rtol=0.01)


def test_steps_count_the_same_one_by_one_and_together() -> None:
    weights = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    one_by_one, together = (WeightAverage([each]) for each in weights)
    for start, value in ((0, 2.0), (10, -1.0), (20, 5.0)):
        for each in weights:
            each.assign(np.full(1, value, "float32"))
        together.update(start, start + 10)
        for step in range(start, start + 10):
            one_by_one.update(step, step + 1)
    np.testing.assert_allclose(one_by_one.variables[0].numpy(), together.variables[0].numpy(), rtol=1e-5)


def test_the_average_is_in_place_for_a_while_and_only_real_numbers_have_one() -> None:
    weights, count = keras.Variable(np.zeros(3, "float32")), keras.Variable(np.array(7, "int32"), dtype="int32")
    average = WeightAverage([weights, count])
    assert len(average.variables) == 1
    average.update(0, 10)
    weights.assign(np.full(3, 2.0, "float32"))
    average.update(10, 20)
    with average.in_place():
        np.testing.assert_allclose(weights.numpy(), 2.0 * (1 - 0.5**4), rtol=1e-6)
        assert count.numpy() == 7
    np.testing.assert_array_equal(weights.numpy(), 2.0)
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError("a metric of a user's")
    np.testing.assert_array_equal(weights.numpy(), 2.0)
