"""A Gaussian process over feature vectors, whose kernel has a learned weight for each group of columns. Pure.

The kernel is the sum of a squared exponential, which is sure only near what was evaluated, and a linear term, which
carries what each feature is worth on average to networks far from all of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
LINEAR = 0.5  # variance of the linear term, beside about 1 of the squared exponential
_ITERATIONS = 12  # of the search for the weights
_JITTER = 1e-8


@dataclass(frozen=True, slots=True)
class Kernel:
    """Covariance of two networks: ``variance · exp(-Σ weight · squared distance) + LINEAR · Σ weight · product``.

    Parameters
    ----------
    centre
        Mean of each column, shape (columns,): products are of what lies beyond it.
    scale
        Square root of the weight of each column's group, shape (columns,).
    variance
        Variance of the squared exponential.
    noise
        Variance of the results that the features don't explain.
    """

    centre: Floats
    scale: Floats
    variance: float = 1.0
    noise: float = 0.05

    def scaled(self, points: Floats) -> Floats:
        """Return points centred and scaled, as `covariance` takes them."""
        found: Floats = (points - self.centre) * self.scale
        return found

    def covariance(self, first: Floats, second: Floats) -> Floats:
        """Return the covariances of scaled points, shape (first, second)."""
        products = first @ second.T
        distances = _squares(first)[:, None] + _squares(second) - 2.0 * products
        found: Floats = self.variance * np.exp(-np.maximum(distances, 0.0)) + LINEAR * products
        return found

    def prior(self, points: Floats) -> Floats:
        """Return the variance of each scaled point before any result is known."""
        found: Floats = self.variance + LINEAR * _squares(points)
        return found


def learn_kernel(points: Floats, values: Floats, groups: NDArray[np.int64]) -> Kernel:
    """Return the kernel with the largest posterior likelihood, under a log-normal prior on its parameters.

    Parameters
    ----------
    points
        Feature vectors, shape (networks, columns).
    values
        What to explain, about standardised, shape (networks,).
    groups
        Number of the group of each column, shape (columns,).
    """
    centre = points.mean(0)
    count = int(groups.max()) + 1
    centred = [(points - centre)[:, groups == group] for group in range(count)]
    products = np.stack([block @ block.T for block in centred])
    varying = np.flatnonzero(np.einsum("gii->g", products) > _JITTER)  # a constant group teaches no weight
    products = products[varying]
    squares = np.einsum("gii->gi", products)
    distances = squares[:, :, None] + squares[:, None, :] - 2.0 * products
    usual = np.log(1.0 / (max(1, len(varying)) * squares.mean(1)))  # the weighted variances sum up to 1
    usual = np.concatenate([usual, np.log([1.0, 0.1])])
    given = (products, distances, values, usual)
    found = minimize(_loss, usual, given, "L-BFGS-B", jac=True, options={"maxiter": _ITERATIONS}).x
    weights = np.zeros(count)
    weights[varying] = np.exp(found[:-2])
    return Kernel(centre, np.sqrt(weights)[groups], float(np.exp(found[-2])), float(np.exp(found[-1])))


def _loss(
    logarithms: Floats, products: Floats, distances: Floats, values: Floats, usual: Floats
) -> tuple[float, Floats]:
    """Return the negative logarithm of the posterior likelihood, up to a constant, and its gradient."""
    bounded = np.clip(logarithms, usual - 5.0, usual + 5.0)
    weights, variance, noise = np.exp(bounded[:-2]), math.exp(bounded[-2]), math.exp(bounded[-1])
    near = variance * np.exp(-np.tensordot(weights, distances, 1))
    covariance = near + LINEAR * np.tensordot(weights, products, 1) + (noise + _JITTER) * np.eye(len(values))
    lower = np.linalg.cholesky(covariance)
    inverse = cho_solve((lower, True), np.eye(len(values)))
    solved = inverse @ values
    spread = np.concatenate([np.ones(len(weights) + 1), [1.5]])  # standard deviations of the prior
    off = (logarithms - usual) / spread
    loss = 0.5 * float(values @ solved) + float(np.log(np.diag(lower)).sum()) + 0.5 * float(off @ off)
    slope = 0.5 * (inverse - np.outer(solved, solved))
    of_weights = LINEAR * np.tensordot(products, slope, 2) - np.tensordot(distances, slope * near, 2)
    gradient = np.concatenate([weights * of_weights, [(slope * near).sum(), noise * float(np.trace(slope))]])
    return loss, gradient + off / spread


class GaussianProcess:
    """Posterior of one or several values of networks that were not evaluated.

    Parameters
    ----------
    kernel
        Covariance of the networks.
    points
        Features of evaluated networks, shape (networks, columns).
    values
        Their values, shape (networks, outputs); the outputs are predicted independently.
    pending
        Features of networks that are being evaluated, shape (pending, columns): they make predictions near them more
        certain, and change no mean.
    """

    def __init__(self, kernel: Kernel, points: Floats, values: Floats, pending: Floats | None = None) -> None:
        known = len(points)
        self._kernel = kernel
        self._points = kernel.scaled(points if pending is None else np.concatenate([points, pending]))
        covariance = kernel.covariance(self._points, self._points)
        covariance.flat[:: len(covariance) + 1] += kernel.noise + _JITTER
        self._lower = np.linalg.cholesky(covariance)
        # the leading block of a Cholesky factor is the factor of the leading block
        self._solved = cho_solve((self._lower[:known, :known], True), values)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """Return means, shape (networks, outputs), and the standard deviation, shape (networks,)."""
        scaled = self._kernel.scaled(points)
        shared = self._kernel.covariance(scaled, self._points)
        explained = solve_triangular(self._lower, shared.T, lower=True, check_finite=False)
        variance = self._kernel.prior(scaled) - (explained**2).sum(0)
        return shared[:, : len(self._solved)] @ self._solved, np.sqrt(np.maximum(variance, 1e-6))


def rank_scores(values: Floats) -> Floats:
    """Return values by rank only, on a logistic scale of about ±2, which spreads the top.

    Outliers and units don't count. Equal values, of which a small validation split has many, share their rank.

    >>> rank_scores(np.array([3.0, 900.0, 1.0])).round(2).tolist(), rank_scores(np.array([3.0, 3.0])).tolist()
    ([0.0, 0.89, -0.89], [0.0, 0.0])
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = (np.cumsum(counts) - counts / 2)[places] / len(places)
    found: Floats = 0.55 * np.log(share / (1.0 - share))
    return found


def _squares(points: Floats) -> Floats:
    found: Floats = np.einsum("ij,ij->i", points, points)
    return found
