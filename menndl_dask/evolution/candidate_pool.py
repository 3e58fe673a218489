"""The candidate pool: offspring that compete to be the next network that is evaluated. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable

import numpy as np
from numpy.typing import NDArray

from menndl_dask.evolution.offspring import Offspring
from menndl_dask.evolution.surrogate.acquisition import SurrogateModel
from menndl_dask.space.space import SearchSpace

Floats = NDArray[np.float64]
_COMPARED = 4  # candidates that are repaired and compared again, before the best of them is taken


class CandidatePool:
    """Offspring ranked by the acquisition function of a surrogate model.

    To repair an image network takes longer than to breed it or to predict its fitness: candidates are ranked as they
    were bred, and only the best are repaired.

    Parameters
    ----------
    space
        Search space into which the best are repaired.
    model
        Predicts how good they are.
    exploration, weights
        Standard deviations and weights of objectives, as `SurrogateModel.acquisition` takes them.
    known
        Keys of the networks that were asked for before.
    rng
        Randomness of repairing.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: SurrogateModel,
        exploration: float,
        weights: Floats,
        known: Container[str],
        rng: np.random.Generator,
    ) -> None:
        self._space, self._known, self._rng = space, known, rng
        self._candidates: list[Offspring] = []
        self._repaired: dict[int, Offspring] = {}
        self._points: list[Floats] = []
        self.rank(model, exploration, weights)

    def rank(self, model: SurrogateModel, exploration: float, weights: Floats) -> None:
        """Rank the candidates anew, by another model or with another exploration."""
        self._model, self._exploration, self._weights = model, exploration, weights
        self._values = np.concatenate([np.zeros(0), *map(self._acquisition, self._points)])

    def add(self, offspring: Iterable[Offspring]) -> None:
        """Add candidates; each is taken to cost what its first parent costs."""
        offspring = list(offspring)
        like = self._model.features.cached([one.parents[0].genome for one in offspring])
        points = self._model.features.of([one.genome for one in offspring], like)
        self._candidates += offspring
        self._points.append(points)
        self._values = np.concatenate([self._values, self._acquisition(points)])

    def leading(self, number: int) -> list[Offspring]:
        """Return so many different new candidates, repaired, the best first; fewer if there are no more."""
        found: dict[str, Offspring] = {}
        for i in np.argsort(-self._values, kind="stable").tolist():
            if i not in self._repaired:
                one = self._candidates[i]
                genome = self._space.repair(one.genome, self._rng)
                self._repaired[i] = Offspring(genome, one.parents, one.origin)
            key = self._repaired[i].genome.key
            if key not in self._known:
                found.setdefault(key, self._repaired[i])
            if len(found) == number:
                break
        return list(found.values())

    def best(self) -> Offspring | None:
        """Return the best new candidate, as it is repaired; None if there is none."""
        leading = self.leading(_COMPARED)
        if not leading:
            return None
        values = self._acquisition(self._model.features.cached([one.genome for one in leading]))
        return leading[int(np.argmax(values))]

    def _acquisition(self, points: Floats) -> Floats:
        return self._model.acquisition(points, self._exploration, self._weights)
