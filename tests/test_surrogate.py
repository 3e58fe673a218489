"""The surrogate: what it predicts, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from menndl_dask import surrogate
from menndl_dask.surrogate import Kernel, Posterior, Sight, learn_kernel, scores


def made_up(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(number, 4))
    return points, scores(np.sin(4 * points[:, 0]) + 0.01 * rng.standard_normal(number))


def test_a_respect_that_counts_gets_more_weight_than_those_that_do_not() -> None:
    points, values = made_up(80)
    kernel = learn_kernel(points, values, np.arange(4))
    assert kernel.scale[0] > 2 * max(kernel.scale[1:])


def test_a_respect_in_which_no_networks_differ_has_no_weight() -> None:
    points, values = made_up(40)
    points[:, 2] = 0.5
    assert learn_kernel(points, values, np.arange(4)).scale[2] == 0.0


def test_networks_that_never_differ_can_still_be_learnt_from() -> None:
    kernel = learn_kernel(np.ones((10, 2)), scores(np.arange(10.0)), np.array([0, 1]))
    posterior = Posterior(kernel, np.ones((10, 2)), np.zeros((10, 1)))
    seen = posterior.look(np.ones((3, 2)))[0]
    assert np.isfinite(seen.mean).all()
    assert np.isfinite(posterior.deviation(seen)).all()


def test_the_gradient_of_the_likelihood_is_right() -> None:
    points, values = made_up(25)
    distances = (points.T[:, :, None] - points.T[:, None, :]) ** 2
    start = np.log([1.0, 2.0, 0.5, 1.0, 1.0, 0.1])

    def value(x: np.ndarray) -> float:  # type: ignore[type-arg]
        return surrogate._surprise(x, distances, values, start)[0]

    def slope(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return surrogate._surprise(x, distances, values, start)[1]

    assert check_grad(value, slope, start + 0.2) < 1e-3


def test_what_was_not_seen_is_predicted_in_the_right_order() -> None:
    points, values = made_up(100)
    posterior = Posterior(learn_kernel(points, values, np.arange(4)), points, values[:, None])
    others, truth = made_up(50, seed=1)
    assert np.corrcoef(posterior.look(others)[0].mean[:, 0], truth)[0, 1] > 0.9


def test_far_from_what_is_known_less_is_sure() -> None:
    points, values = made_up(30)
    posterior = Posterior(Kernel(np.ones(4) * 2, 1.0, 0.01), points, values[:, None])
    deviation = posterior.deviation(posterior.look(np.stack([points[0], points[0] + 5.0]))[0])
    assert deviation[0] < 0.2
    assert deviation[1] == pytest.approx(1.0, abs=1e-3)


def test_near_what_is_being_evaluated_less_is_left_to_learn() -> None:
    points, values = made_up(30)
    posterior = Posterior(Kernel(np.ones(4) * 2, 1.0, 0.01), points, values[:, None])
    target = points[:2] + 3.0
    seen = posterior.look(target)[0]
    before = posterior.deviation(seen)
    after = posterior.deviation(seen, posterior.expecting(posterior.look(target[:1])[0]))
    assert after[0] < 0.2 * before[0]


def test_networks_seen_apart_and_joined_are_seen_as_together() -> None:
    points, values = made_up(30)
    posterior = Posterior(Kernel(np.ones(4) * 2, 1.0, 0.01), points, values[:, None])
    together = posterior.look(points[:7])[0]
    apart = Sight.joined([posterior.look(p)[0] for p in (points[:3], points[3:7])])
    assert together.mean == pytest.approx(apart.mean)
    first, second = posterior.expecting(apart), posterior.expecting(together)
    assert posterior.deviation(together, first) == pytest.approx(posterior.deviation(apart, second))


def test_scores_depend_on_ranks_only() -> None:
    assert scores([1.0, 2.0, 3.0]).tolist() == scores([-5.0, 0.0, 1e9]).tolist()
