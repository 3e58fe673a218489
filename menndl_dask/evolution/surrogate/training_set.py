"""The training set: a bounded choice of all results, to which the surrogate model is fitted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from menndl_dask.evolution.surrogate.acquisition import Observation, SurrogateModel
from menndl_dask.evolution.surrogate.features import Features
from menndl_dask.evolution.surrogate.gaussian_process import Kernel, learn_kernel, rank_scores
from menndl_dask.genome.genome import Genome
from menndl_dask.objective import Objectives
from menndl_dask.space.space import SearchSpace

SIZE = 320  # successes that the model is fitted to
FAILURES = 120  # failures, the latest, that feasibility is learned from
_STORED = 1000  # results that are stored
_LEARNED = 150  # successes that the kernel is learned from
_ENOUGH, _SUCCEEDED = 8, 2  # results, and successes among them, without which nothing is predicted


class TrainingSet:
    """The results that are worth remembering, and the surrogate model fitted to them.

    Parameters
    ----------
    space
        Search space of the genomes.
    objectives
        What the search compares, and its hard constraints.
    """

    def __init__(self, space: SearchSpace, objectives: Objectives) -> None:
        self.features = Features(space)
        self.observations: list[Observation] = []
        self._objectives = objectives
        self._added = self._succeeded = self._learn_at = 0
        self._learn_from: list[Observation] = []
        self._kernel: Kernel | None = None

    def add(self, observation: Observation) -> None:
        """Add a result. Nothing is computed yet, so that adding all results of a journal is cheap."""
        self.observations.append(observation)
        self._added += 1
        self._succeeded += observation.values is not None
        if len(self.observations) > _STORED:
            older, latest = self.observations[:-FAILURES], self.observations[-FAILURES:]
            failed = [o for o in older if o.values is None][-FAILURES:]
            self.observations = [*failed, *_spread(_succeeded(older), _STORED // 2), *latest]
        if self._succeeded >= _SUCCEEDED and self._added >= max(_ENOUGH, self._learn_at):
            self._learn_from, self._kernel = list(self.observations), None
            self._learn_at = self._added + max(1, self._added // 20)

    def model(self, pending: Sequence[Genome] = ()) -> SurrogateModel | None:
        """Return the model fitted to the results so far; None if too few are known.

        It depends on the results and their order only, not on when a model was asked for before.
        """
        if not self._learn_from:
            return None
        if self._kernel is None:
            chosen = _spread(_succeeded(self._learn_from), _LEARNED)
            scores = rank_scores(np.array([o.values[0] for o in chosen if o.values is not None]))
            points = self.features.cached([o.genome for o in chosen])
            self._kernel = learn_kernel(points, scores, self.features.group_of_column)
        chosen = _spread(_succeeded(self.observations), SIZE)
        failed = [o for o in self.observations if o.values is None][-FAILURES:]
        return SurrogateModel(chosen, failed, self._kernel, self.features, self._objectives, pending)


def _succeeded(observations: Sequence[Observation]) -> list[Observation]:
    return [o for o in observations if o.values is not None]


def _spread(observations: Sequence[Observation], number: int) -> list[Observation]:
    """Return so many successes: half of them the best, the others evenly from the rest, in the order given."""
    if len(observations) <= number:
        return list(observations)
    fitness = np.array([o.values[0] for o in observations if o.values is not None])
    order = np.argsort(-fitness, kind="stable")
    best, rest = order[: number // 2], order[number // 2 :]
    evenly = rest[np.linspace(0, len(rest) - 1, number - len(best)).astype(int)]
    return [observations[i] for i in sorted((*best.tolist(), *evenly.tolist()))]
