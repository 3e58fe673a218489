"""Interactions: made-up landscapes over slots in which what one slot is worth depends on others. Pure.

Each operation has a worth in each slot, and pairs of slots, neighbours and a few drawn ones, interact (a landscape of
the NK kind, Kauffman and Weinberger 1989, doi:10.1016/S0022-5193(89)80019-0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulation import Outcome
from menndl_dask.genome.domain import choice
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

_CLIMBS = 60  # hill climbs that look for the best network
_FAILS_BELOW = 0.1  # value below which a network learns nothing, where nothing else is said
_NAMES = tuple("abcdefgh")


@dataclass(frozen=True, slots=True)
class Four(Gene):
    """One of four operations."""

    operation: str = choice(*_NAMES[:4])


@dataclass(frozen=True, slots=True)
class Eight(Gene):
    """One of eight operations."""

    operation: str = choice(*_NAMES)


class Interactions:
    """A made-up landscape over slots.

    Parameters
    ----------
    name
        What it is called.
    kind
        The gene of all slots, `Four` or `Eight`.
    slots
        How many there are.
    seed
        Of the worths.
    noise
        Standard deviation of a result; values lie between 0 and 1.
    viable
        Share of random networks that learn anything.
    """

    floor = 0.0

    def __init__(
        self,
        name: str,
        kind: type[Gene],
        slots: int,
        seed: int = 0,
        noise: float = 0.004,
        viable: float | None = None,
    ) -> None:
        self.name, self.space, self._noise = name, SearchSpace.slots([kind] * slots), noise
        count = round(self.space.size ** (1 / slots))
        rng = np.random.default_rng([seed, slots, count])
        usual = rng.normal(0, 1, count)
        self._worth = usual * rng.uniform(0.3, 1.3, (slots, 1)) + 0.4 * rng.normal(0, 1, (slots, count))
        pairs = [(i, i + 1) for i in range(slots - 1)]
        pairs += [(int(i), int(j)) for i, j in (rng.choice(slots, 2, replace=False) for _ in range(slots // 2))]
        self._pairs = [(i, j, 0.6 * rng.normal(0, 1, (count, count))) for i, j in pairs]
        self._spread = math.sqrt(self._worth.var(1).sum() + sum(table.var() for *_, table in self._pairs))
        self.best = max(self._climbed(rng.integers(count, size=slots)) for _ in range(_CLIMBS))
        drawn = rng.integers(count, size=(4000, slots))
        values = self._values(drawn)
        self.good = float(np.quantile(values, 0.999))
        self._fails_below = _FAILS_BELOW if viable is None else float(np.quantile(values, 1.0 - viable))

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Return the value with noise; what is worth little learns nothing."""
        codes = np.array([_NAMES.index(gene.operation) for gene in genome.genes])  # type: ignore[attr-defined]
        truth = float(self._values(codes[None])[0])
        seconds = 20 * math.exp(0.3 * rng.standard_normal()) * (1 + float((codes == 0).mean()))
        if truth < self._fails_below:
            return Outcome(Result.failed("no_learning"), self.floor, 0.3 * seconds)
        return Outcome(Result(truth + self._noise * rng.standard_normal()), truth, seconds)

    def _values(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the values of networks, one a row."""
        total = self._worth[np.arange(codes.shape[1]), codes].sum(1)
        total += sum(table[codes[:, i], codes[:, j]] for i, j, table in self._pairs)
        return 1 / (1 + np.exp(-total / self._spread))

    def _climbed(self, codes: NDArray[np.int64]) -> float:
        """Return the value of the hilltop above a network."""
        value = -math.inf
        while True:
            near = [np.where(np.arange(len(codes)) == i, o, codes) for i, o in np.ndindex(*self._worth.shape)]
            values = self._values(np.array(near))
            if values.max() <= value:
                return value
            value, codes = float(values.max()), near[int(np.argmax(values))]
