"""The surrogate: a Gaussian process that predicts how good a network will be, and how sure that is. Pure.

It stands in for an evaluation when many children are compared and one is to be evaluated. Two networks are expected to
be as good as each other the nearer their descriptors are; how much each respect (group of columns) counts is learnt
from the results by the marginal likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve
from scipy.linalg.lapack import dtrtrs
from scipy.optimize import minimize

Floats = NDArray[np.float64]
_STEPS = 12  # of the search for the weights
_SPREAD = 1.0  # how far a weight may lie from what is usual, as the standard deviation of its logarithm
_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Kernel:
    """How alike two networks are: ``share · exp(-Σ weight · squared distance)``.

    Parameters
    ----------
    scale
        For each column the root of its group's weight.
    share
        Variance that the kernel explains.
    noise
        Variance that it does not: of training, and of what descriptors do not tell.
    """

    scale: Floats
    share: float = 1.0
    noise: float = 0.05

    def placed(self, points: Floats) -> Places:
        """Return descriptors as places whose squared distances are weighted; columns that do not count are left out."""
        counts = self.scale > 0
        vectors = points[:, counts] * self.scale[counts]
        return Places(vectors, np.einsum("ij,ij->i", vectors, vectors))

    def between(self, first: Places, second: Places) -> Floats:
        """Return the covariance of each of the first with each of the second."""
        found: Floats = first.vectors @ second.vectors.T  # and in place from here on: memory costs more than arithmetic
        found *= 2.0
        found -= first.squares[:, None]
        found -= second.squares
        np.minimum(found, 0.0, out=found)
        np.exp(found, out=found)
        found *= self.share
        return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where networks are for a kernel, one a row, and the squared lengths of these rows."""

    vectors: Floats
    squares: Floats

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, which: slice | Sequence[int]) -> Places:
        return Places(self.vectors[which], self.squares[which])

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """Return several as one."""
        return cls(np.concatenate([p.vectors for p in parts]), np.concatenate([p.squares for p in parts]))


@dataclass(frozen=True, slots=True)
class Sight:
    """Networks as a posterior sees them: kept, they are compared again at little cost.

    Parameters
    ----------
    places
        Where they are.
    mean
        What is expected of them, one a row.
    explained
        For each the part of its uncertainty that the results have taken, one a column.
    """

    places: Places
    mean: Floats
    explained: Floats

    @classmethod
    def joined(cls, sights: Sequence[Sight]) -> Sight:
        """Return several as one."""
        places = Places.joined([sight.places for sight in sights])
        mean, explained = [sight.mean for sight in sights], [sight.explained for sight in sights]
        return cls(places, np.concatenate(mean), np.concatenate(explained, axis=1))

    def one(self, i: int) -> Sight:
        """Return one of the networks by itself."""
        only = slice(i, i + 1)
        return Sight(self.places[only], self.mean[only], self.explained[:, only])


@dataclass(frozen=True, slots=True)
class Expected:
    """Networks that are being evaluated, and the Cholesky factor of the covariance of the results to come."""

    sight: Sight
    lower: NDArray[np.floating[Any]]


def learn_kernel(points: Floats, values: Floats, columns: NDArray[np.int64]) -> Kernel:
    """Return the kernel under which values are most likely, with a preference for usual weights.

    Parameters
    ----------
    points
        Descriptors, one a row.
    values
        What is to be explained, about standardised.
    columns
        The group of each column.
    """
    groups = int(columns.max()) + 1
    distances = np.stack([_squared(points[:, columns == g]) for g in range(groups)])
    usual = distances.mean((1, 2))
    alive = np.flatnonzero(usual > _TINY)  # what never differs cannot be learnt
    start = np.log(2.0 / (len(alive) * usual[alive])) if len(alive) else np.zeros(0)
    start = np.concatenate([start, np.log([1.0, 0.1])])
    given = (distances[alive], values, start)
    found = minimize(_surprise, start, given, "L-BFGS-B", jac=True, options={"maxiter": _STEPS}).x
    weights = np.zeros(groups)
    weights[alive] = np.exp(found[:-2])
    return Kernel(np.sqrt(weights)[columns], float(np.exp(found[-2])), float(np.exp(found[-1])))


def _surprise(
    logarithms: Floats, distances: Floats, values: Floats, usual: Floats
) -> tuple[float, Floats]:
    """Return the negative logarithm of the likelihood and of the preference, and its gradient."""
    bounded = np.clip(logarithms, usual - 5.0, usual + 5.0)
    weights, share, noise = np.exp(bounded[:-2]), math.exp(bounded[-2]), math.exp(bounded[-1])
    like = share * np.exp(-np.tensordot(weights, distances, 1))
    covariance = like + (noise + _TINY) * np.eye(len(values))
    lower = np.linalg.cholesky(covariance)
    inverse = cho_solve((lower, True), np.eye(len(values)))
    solved = inverse @ values
    off = (logarithms - usual) / np.concatenate([np.full(len(weights), _SPREAD), [1.0, 1.5]])
    surprise = 0.5 * float(values @ solved) + float(np.log(np.diag(lower)).sum()) + 0.5 * float(off @ off)
    slope = 0.5 * (inverse - np.outer(solved, solved))
    weighed = slope * like
    gradient = np.concatenate(
        [-weights * np.tensordot(distances, weighed, 2), [weighed.sum(), noise * float(np.trace(slope))]]
    )
    return surprise, gradient + off / np.concatenate([np.full(len(weights), _SPREAD), [1.0, 1.5]])


class Posterior:
    """What the results say about networks that were not evaluated.

    Parameters
    ----------
    kernel
        How alike networks are.
    points
        Descriptors of evaluated networks, one a row.
    values
        Their values; several columns are predicted independently with one kernel.
    """

    def __init__(self, kernel: Kernel, points: Floats, values: Floats) -> None:
        self._kernel, self._places = kernel, kernel.placed(points)
        self._lower, self._solved = _solve(kernel, self._places, values)

    def look(self, points: Floats, viability: Viability | None = None) -> tuple[Sight, Floats]:
        """Return networks as these results let them be seen, and how likely each is viable.

        Parameters
        ----------
        points
            Their descriptors, one a row.
        viability
            What tells that; without it all are.
        """
        sight, near = self._sighted(points)
        chance = np.ones(len(points)) if viability is None else viability.chance(sight.places, near)
        return sight, chance

    def sight(self, points: Floats) -> Sight:
        """Return networks as these results let them be seen, whether they are viable or not."""
        return self._sighted(points)[0]

    def _sighted(self, points: Floats) -> tuple[Sight, Floats]:
        places = self._kernel.placed(points)
        near = self._kernel.between(places, self._places)
        return Sight(places, near @ self._solved, _forward(self._lower, near.T)), near

    def expecting(self, pending: Sight) -> Expected:
        """Return what networks that are being evaluated will tell when they come home."""
        among = self._kernel.between(pending.places, pending.places) - pending.explained.T @ pending.explained
        return Expected(pending, np.linalg.cholesky(among + (self._kernel.noise + 1e-6) * np.eye(len(among))))

    def deviation(self, seen: Sight, expected: Expected | None = None) -> Floats:
        """Return the standard deviation of what is expected of each network.

        Parameters
        ----------
        seen
            The networks.
        expected
            What is being evaluated: near it less is left to be learnt.
        """
        variance = self._kernel.share - (seen.explained**2).sum(0)
        if expected is not None:
            pending = expected.sight
            shared = self._kernel.between(pending.places, seen.places) - pending.explained.T @ seen.explained
            variance -= (_forward(expected.lower, shared) ** 2).sum(0)
        found: Floats = np.sqrt(np.maximum(variance, 1e-6))
        return found

    def viability(self, succeeded: Sequence[int], failed: Floats) -> Viability:
        """Return what successes and failures say of who is viable.

        Parameters
        ----------
        succeeded
            Which of the networks that this was made with count.
        failed
            Descriptors of networks that failed.
        """
        failures = self._kernel.placed(failed)
        viable = np.repeat([0.0, -1.0], [len(succeeded), len(failed)])
        _, solved = _solve(self._kernel, Places.joined([self._places[succeeded], failures]), viable)
        near = np.zeros(len(self._places))
        near[succeeded] = solved[: len(succeeded)]
        return Viability(self._kernel, near, failures, solved[len(succeeded) :])


@dataclass(frozen=True, slots=True)
class Viability:
    """What the results say of who is viable: it shares the covariances with the posterior whose successes it knows.

    Parameters
    ----------
    kernel
        How alike networks are.
    near
        How much each of the posterior's networks counts.
    failed
        Where the failures are.
    counts
        How much each of these counts.
    """

    kernel: Kernel
    near: Floats
    failed: Places
    counts: Floats

    def chance(self, places: Places, near: Floats) -> Floats:
        """Return how likely networks are viable, given where they are and their covariances with the posterior's."""
        found: Floats = 1.0 + near @ self.near + self.kernel.between(places, self.failed) @ self.counts
        return np.clip(found, 0.0, 1.0, out=found)


def scores(values: Sequence[float] | Floats) -> Floats:
    """Return the values by rank only, logistically spread: outliers count no more than others, the top is told apart.

    Equal values, of which a small validation split has many, share their ranks.

    >>> scores([3.0, 900.0, 1.0]).round(2).tolist(), scores([3.0, 3.0]).tolist()
    ([0.0, 0.89, -0.89], [0.0, 0.0])
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    share = (np.cumsum(counts) - counts / 2)[places] / len(places)
    found: Floats = 0.55 * np.log(share / (1.0 - share))
    return found


def _solve(kernel: Kernel, places: Places, values: Floats) -> tuple[NDArray[np.floating[Any]], Floats]:
    """Return the Cholesky factor of the covariance of results, and its inverse times their values."""
    covariance = kernel.between(places, places) + (kernel.noise + _TINY) * np.eye(len(places))
    lower = np.linalg.cholesky(covariance)
    return lower, cho_solve((lower, True), values)


def _forward(lower: NDArray[np.floating[Any]], values: Floats) -> Floats:
    """Solve a lower triangular system: SciPy's own function takes longer to look at its arguments than for this."""
    found, trouble = dtrtrs(lower.T, values, lower=0, trans=1)  # LAPACK has columns where NumPy has rows
    if trouble:
        raise LinAlgError(f"dtrtrs: {trouble}")
    solved: Floats = found
    return solved


def _squared(points: Floats) -> Floats:
    norms = (points * points).sum(1)
    found: Floats = np.maximum(norms[:, None] + norms[None, :] - 2.0 * (points @ points.T), 0.0)
    return found
