"""Random search: networks drawn from a space, until they have taken as long as another search. Pure.

What a search by evolution is worth shows beside it. It is asked and told like `Evolution`.
"""

from __future__ import annotations

import numpy as np

from menndl_dask.errors import RunError
from menndl_dask.evolution.evolution import SpaceExhausted
from menndl_dask.genome.individual import Evaluation, Individual, ranked
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from menndl_dask.text import duration

_STREAM = 3  # of random numbers: evolution with the same seed draws others
_DRAWS = 100  # of one network, until it is a new one


class RandomSearch:
    """Random networks of a space, without duplicates.

    Parameters
    ----------
    space
        The search space.
    seed
        Random seed.
    seconds
        Time on workers, of all evaluations together, after which no further network is proposed. Evaluations in flight
        then are completed, so it takes at least as long.
    """

    def __init__(self, space: SearchSpace, seed: int, seconds: float) -> None:
        self.space = space
        self.seconds = seconds
        self.spent = 0.0
        self._seed = seed
        self._next = 0
        self._keys: set[str] = set()
        self._evaluations: list[Evaluation] = []

    def ask(self, n: int) -> list[Individual]:
        """Return up to `n` networks; raises `SpaceExhausted` when their time is over, or no new one is found."""
        if self.spent >= self.seconds:
            raise SpaceExhausted(f"random networks have been evaluated for {duration(self.spent)} of a worker")
        asked: list[Individual] = []
        while len(asked) < n:
            rng = np.random.default_rng([self._seed, self._next, _STREAM])
            drawn = (self.space.sample(rng) for _ in range(_DRAWS))
            genome = next((genome for genome in drawn if genome.key not in self._keys), None)
            if genome is None:
                break
            asked.append(Individual(self._next, genome))
            self.recall(asked[-1])
        if not asked:
            raise SpaceExhausted(f"no new network is found; {len(self._keys)} have been asked for")
        return asked

    def recall(self, individual: Individual) -> None:
        """Take note of a network that was asked for in an earlier process."""
        self._keys.add(individual.genome.key)
        self._next = max(self._next, individual.id + 1)

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of a network."""
        self.spent += result.times.get("total", 0.0)
        self._evaluations.append((individual, result))

    def best(self) -> Evaluation:
        """Return the fittest network told so far, and its result; raises `RunError` if none has succeeded."""
        found = ranked(self._evaluations, 1)
        if not found:
            raise RunError("random search: no network has succeeded yet")
        return found[0]
