"""Acquisition: which networks are worth an evaluation, by a surrogate model of the results so far. Pure.

MENNDL filtered its proposals with a support-vector machine (Johnston et al. 2017, doi:10.1145/3146347.3146352); here
Gaussian processes predict fitness and feasibility with their uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menndl_dask.evolution.surrogate.features import Features
from menndl_dask.evolution.surrogate.gaussian_process import GaussianProcess, Kernel, rank_scores
from menndl_dask.genome.genome import Genome
from menndl_dask.objective import Objectives

Floats = NDArray[np.float64]
_FAILED = -2.0  # score of a failed network, beside scores of about ±2
_FEASIBLE = 200  # successes beside which failures teach what is feasible


@dataclass(slots=True, eq=False)
class Observation:
    """An evaluated network.

    Parameters
    ----------
    genome
        The network.
    values
        One number for each objective, larger is better; None if the evaluation failed.
    feasible
        Whether all hard constraints were kept.
    """

    genome: Genome
    values: tuple[float, ...] | None
    feasible: bool = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """Posterior of networks that were not evaluated, one a row.

    Parameters
    ----------
    mean
        Score of each objective, shape (networks, objectives).
    std
        Standard deviation of the scores, shape (networks,).
    probability_feasible
        Probability that the evaluation succeeds and keeps the constraints, shape (networks,).
    """

    mean: Floats
    std: Floats
    probability_feasible: Floats


class SurrogateModel:
    """Posterior prediction of fitness and feasibility for unevaluated genomes.

    Parameters
    ----------
    succeeded, failed
        The results it is fitted to.
    kernel
        Covariance of networks.
    features
        Turns genomes into vectors.
    objectives
        What the search compares, and its hard constraints. Costs that a genome tells are computed, not predicted.
    pending
        Networks that are being evaluated.
    """

    def __init__(
        self,
        succeeded: Sequence[Observation],
        failed: Sequence[Observation],
        kernel: Kernel,
        features: Features,
        objectives: Objectives,
        pending: Sequence[Genome] = (),
    ) -> None:
        self.features, self._objectives = features, objectives
        points = features.cached([o.genome for o in succeeded])
        values = np.array([o.values for o in succeeded])
        scores = np.stack([rank_scores(column) for column in values.T], axis=1)
        broken = np.array([[float(o.feasible) - 1.0] for o in succeeded])
        self._levels = [(np.sort(v), np.sort(s)) for v, s in zip(values.T, scores.T, strict=True)]
        waiting = features.cached(pending) if pending else None
        self._fitness = GaussianProcess(kernel, points, np.hstack([scores, broken]), waiting)
        self._feasibility: GaussianProcess | None = None
        if failed:
            some = points[:: 1 + len(points) // _FEASIBLE]
            both = np.concatenate([some, features.cached([o.genome for o in failed])])
            outcome = np.repeat([0.0, -1.0], [len(some), len(failed)])
            self._feasibility = GaussianProcess(kernel, both, outcome[:, None])

    def predict(self, points: Floats) -> Prediction:
        """Return the posterior of networks given by their features, shape (networks, columns)."""
        mean, std = self._fitness.predict(points)
        probability = np.clip(1.0 + mean[:, -1], 0.0, 1.0)  # of keeping the constraints
        mean = mean[:, :-1]
        if self._feasibility is not None:
            probability *= np.clip(1.0 + self._feasibility.predict(points)[0][:, 0], 0.0, 1.0)
        for limit in self._objectives.limits:
            cost = self.features.known_cost(limit.name, points)
            if cost is not None:
                probability[(cost > limit.bound) if limit.upper else (cost < limit.bound)] = 0.0
        return Prediction(mean, std, probability)

    def acquisition(self, points: Floats, exploration: float, weights: Floats) -> Floats:
        """Return the expected upper confidence bound of each network, a failed one counted as low, shape (networks,).

        Parameters
        ----------
        points
            Features of the networks, shape (networks, columns).
        exploration
            How many standard deviations count.
        weights
            Weight of each objective, which sum to 1. Of several objectives the one counts in which the network is worst
            (Chebyshev), so that weights drawn anew for each choice lead to all parts of the Pareto front.
        """
        prediction = self.predict(points)
        upper = prediction.mean + exploration * prediction.std[:, None]
        for i, name in enumerate(self._objectives.names):
            cost = self.features.known_cost(name, points)
            if cost is not None:
                upper[:, i] = np.interp(-cost, *self._levels[i])
        bound = upper[:, 0]
        if len(weights) > 1:
            above = (upper - _FAILED) / (np.maximum(weights, 0.02) * len(weights))
            bound = _FAILED + above.min(1) + 0.05 * above.mean(1)
        found: Floats = _FAILED + prediction.probability_feasible * (bound - _FAILED)
        return found
