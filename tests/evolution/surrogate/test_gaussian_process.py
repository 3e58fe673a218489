"""The Gaussian process: what it predicts, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from menndl_dask.evolution.surrogate import gaussian_process
from menndl_dask.evolution.surrogate.gaussian_process import (
    LINEAR,
    Floats,
    GaussianProcess,
    Kernel,
    learn_kernel,
    rank_scores,
)

KERNEL = Kernel(np.zeros(4), np.full(4, 2.0), 1.0, 0.01)


def made_up(number: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(number, 4))
    return points, rank_scores(np.sin(4 * points[:, 0]) + 0.01 * rng.standard_normal(number))


def test_a_group_that_counts_gets_more_weight_than_those_that_do_not() -> None:
    points, values = made_up(80)
    kernel = learn_kernel(points, values, np.arange(4))
    assert kernel.scale[0] > 2 * max(kernel.scale[1:])


def test_a_group_in_which_no_networks_differ_has_no_weight() -> None:
    points, values = made_up(40)
    points[:, 2] = 0.5
    assert learn_kernel(points, values, np.arange(4)).scale[2] == 0.0


def test_networks_that_never_differ_can_still_be_learned_from() -> None:
    kernel = learn_kernel(np.ones((10, 2)), rank_scores(np.arange(10.0)), np.array([0, 1]))
    mean, std = GaussianProcess(kernel, np.ones((10, 2)), np.zeros((10, 1))).predict(np.ones((3, 2)))
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


def test_the_gradient_of_the_likelihood_is_right() -> None:
    points, values = made_up(25)
    centred = (points - points.mean(0)).T
    products = centred[:, :, None] * centred[:, None, :]
    distances = (points.T[:, :, None] - points.T[:, None, :]) ** 2
    start = np.log([1.0, 2.0, 0.5, 1.0, 1.0, 0.1])

    def loss(x: Floats) -> float:
        return gaussian_process._loss(x, products, distances, values, start)[0]

    def gradient(x: Floats) -> Floats:
        return gaussian_process._loss(x, products, distances, values, start)[1]

    assert check_grad(loss, gradient, start + 0.2) < 1e-3


def test_networks_that_were_not_evaluated_are_predicted_in_the_right_order() -> None:
    points, values = made_up(100)
    process = GaussianProcess(learn_kernel(points, values, np.arange(4)), points, values[:, None])
    others, truth = made_up(50, seed=1)
    assert np.corrcoef(process.predict(others)[0][:, 0], truth)[0, 1] > 0.9


def test_what_features_are_worth_on_average_reaches_networks_far_from_all_that_are_known() -> None:
    rng = np.random.default_rng(0)
    worth = rng.standard_normal(28)

    def networks(number: int, low: float, high: float) -> Floats:
        return (rng.uniform(size=(number, 28)) < rng.uniform(low, high, (number, 1))).astype(float)

    near, far = networks(150, 0.0, 0.3), networks(100, 0.6, 1.0)
    values = rank_scores(near @ worth)
    process = GaussianProcess(learn_kernel(near, values, np.arange(28)), near, values[:, None])
    assert np.corrcoef(process.predict(far)[0][:, 0], far @ worth)[0, 1] > 0.8


def test_far_from_what_is_known_less_is_sure() -> None:
    points, values = made_up(30)
    _, std = GaussianProcess(KERNEL, points, values[:, None]).predict(np.stack([points[0], points[0] + 5.0]))
    assert std[0] < 0.2
    assert std[1] > 1.0


def test_near_what_is_being_evaluated_less_is_left_to_learn_and_as_much_is_expected() -> None:
    points, values = made_up(30)
    target = points[:2] + 3.0
    before, apart = GaussianProcess(KERNEL, points, values[:, None]).predict(target)
    after, near = GaussianProcess(KERNEL, points, values[:, None], target[:1]).predict(target)
    assert near[0] < 0.2 * apart[0]
    assert after == pytest.approx(before)


def test_the_prior_is_the_covariance_of_a_network_with_itself() -> None:
    scaled = KERNEL.scaled(made_up(5)[0])
    assert KERNEL.prior(scaled) == pytest.approx(np.diag(KERNEL.covariance(scaled, scaled)))
    assert LINEAR > 0


def test_scores_depend_on_ranks_only() -> None:
    assert rank_scores(np.array([1.0, 2.0, 3.0])).tolist() == rank_scores(np.array([-5.0, 0.0, 1e9])).tolist()
