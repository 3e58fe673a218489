"""The memory that a network is predicted to need, and the workers that have it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Problem
from menndl_dask.search.plan.limit_rules import needed_bytes

_ERROR = 2.5  # by which the estimate of a step may be too large, at most
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a training needs: surely, and at most by what was measured of many networks."""

    least: float = 0.0
    most: float = 0.0


Predict = Callable[[Individual], Need]


def prediction(problem: Problem) -> Predict:
    """Return the function that predicts the memory of a training from the genome."""

    def need(individual: Individual) -> Need:
        genome = individual.genome
        batches = [size for gene in genome.settings if (size := getattr(gene, "batch_size", None)) is not None]
        try:
            step = cost_of(genome, problem).memory_bytes(next(iter(batches), problem.budget.batch_size))
        except InfeasibleError:  # its evaluation says so
            return Need()
        return Need(step / _ERROR, needed_bytes(step))

    return need


class WorkerMemory:
    """The workers' memory for a training, as far as they declare it (`menndl_dask.environment.MEMORY`).

    Attributes
    ----------
    largest
        The most that a worker has had so far; 0 while none has declared any.

    With `shared`, a worker divides its memory among the networks that it trains at the same time, so that each takes
    what it is predicted to need.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.shared = shared
        self._declared: dict[str, float] = {}
        self.largest = 0.0

    def update(self, declared: Mapping[str, float]) -> None:
        """Set what each worker declares, by its address."""
        self._declared = dict(declared)
        self.largest = max(self.largest, *declared.values(), 0.0)

    def of(self, worker: str) -> float:
        """Return what a worker has declared; the most of any, if it is not known."""
        return self._declared.get(worker, self.largest)

    def demand(self, need: Need) -> float:
        """Return the memory that a worker must have for a network: 0 for any worker, infinite if none has enough.

        One that needs more than a worker has by the upper estimate only is given to the largest workers.

        >>> memory = WorkerMemory()
        >>> memory.update({"small": 24e9, "large": 80e9})
        >>> [memory.demand(Need(most / 4, most)) / 1e9 for most in (10e9, 50e9, 200e9, 400e9)]
        [0.0, 50.0, 80.0, inf]
        """
        if not self._declared or (need.most <= min(self._declared.values()) and not self.shared):
            return 0.0
        if need.least > self.largest:
            return math.inf
        return min(need.most, self.largest)

    def refusal(self, need: Need) -> str:
        """Return why a network was not trained."""
        least = f"it needs at least {need.least / _GB:.1f} GB by the estimate from its genome"
        return f"not trained: {least}, and the largest worker has {self.largest / _GB:.1f} GB for a training"
