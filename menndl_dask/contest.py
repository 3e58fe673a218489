"""Contests: many children compete to be the next network that is evaluated. Pure.

A surrogate judges them. Those that it finds most promising breed again, with each other and by mutation, before any is
evaluated, and so do their children, as long as that finds more promising ones: what the results have taught leads
further than one step from the networks that gave them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from menndl_dask.genome import Genome
from menndl_dask.litter import Child, Operators, Parent, points
from menndl_dask.population import Floats
from menndl_dask.screening import Screening, Seen
from menndl_dask.space import SearchSpace

_CURIOSITY = 1.0  # mean number of standard deviations by which children may be better than expected
_MENDED = 4  # promising children that are brought into the space, before the best of them is taken
_PAIR = 2  # children in a tournament for breeding again
_BROOD, _LEADING = 8, 4  # children of a generation, and of how many parents
_GENERATIONS, _PATIENCE = 16, 3  # at most, and without a more promising child while little is known
_LED = 8  # different parents where each must be mended, which costs more than all else


class Contest:
    """Children that compete for an evaluation, or for several that are begun before the next result is told.

    Parameters
    ----------
    space
        Where the winner is brought into.
    operators, weights
        How children are bred, and how often each operator is used.
    screening
        Who judges.
    pending
        What is being evaluated.
    objectives
        How many things the search compares.
    seed
        Of all that is random in it.
    """

    def __init__(
        self,
        space: SearchSpace,
        operators: Operators,
        weights: Mapping[str, float],
        screening: Screening,
        pending: Iterable[Genome],
        objectives: int,
        seed: Sequence[int],
    ) -> None:
        self._space, self._operators, self._weights, self._screening = space, operators, weights, screening
        self._objectives = objectives
        self._children: list[Child] = []
        self._seen: list[Seen] = []
        self._promise = np.zeros(0)
        self.begin(pending, seed)

    def begin(self, pending: Iterable[Genome], seed: Sequence[int]) -> None:
        """Begin another round: the same children, beside what is being evaluated by now, with another curiosity.

        It does not matter which rounds there were before: a replay may pass them over.
        """
        self._seed, self._rng = tuple(seed), np.random.default_rng(seed)
        self._expected = self._screening.expecting(pending)
        # the same for all children of a round, or the luckiest would win instead of the most promising
        self._factor = _CURIOSITY * self._rng.exponential()
        self._shares = self._rng.dirichlet(np.ones(self._objectives))  # how much each objective counts this time
        if self._seen:
            self._seen = [Seen.joined(self._seen)]
            self._promise = self._promised(self._seen[0])

    def enter(self, children: Sequence[Child], seen: Seen) -> None:
        """Let children in, as the screening sees them."""
        self._children += children
        self._seen.append(seen)
        self._promise = np.concatenate([self._promise, self._promised(seen)])

    def evolve(self) -> None:
        """Let the most promising children breed, again and again, until their children promise no more than they do.

        That is worth most while little is known; as soon as the surrogate has all the results that it can hold, the
        first generation in vain is the last.
        """
        patience = 1 if self._screening.full else _PATIENCE
        led: set[str] = set()
        vain = 0
        for _ in range(_GENERATIONS):
            promised = self._promise.max()
            led |= self.breed(_BROOD, _LEADING)
            vain = 0 if self._promise.max() > promised else vain + 1
            if vain == patience or (self._space.rules is not None and len(led) >= _LED):
                break

    def breed(self, number: int, parents: int) -> set[str]:
        """Let the most promising children, so many of them, have so many children of their own, which compete too.

        Returns
        -------
        set of str
            Keys of the networks that bred.
        """
        leading: dict[str, Parent] = {}
        for i in self._order():
            child = self._children[i]
            genome = child.mended(self._space)
            leading.setdefault(genome.key, Parent(genome, child.parents))
            if len(leading) == parents:
                break
        bred = list(self._operators.breed(list(leading.values()), self._weights, _PAIR, number, self._rng))
        for place, child in enumerate(bred, len(self._children)):
            child.seed = (*self._seed, place)
        self.enter(bred, self._screening.look(points(bred, self._screening)))
        return set(leading)

    def winner(self, known: Container[str]) -> tuple[Child, Genome] | None:
        """Return the most promising child that is not known, brought into the space; nothing if all are known.

        Mending costs more than breeding and comparing: all children are compared as they were bred, and only those
        that come out first are mended and compared again.
        """
        first: list[int] = []
        genomes: list[Genome] = []
        for i in self._order():
            genome = self._children[i].mended(self._space)
            if genome.key in known:
                continue
            if not first and genome is self._children[i].bred:  # nothing was mended: it comes first again
                return self._children[i], genome
            first.append(i)
            genomes.append(genome)
            if len(first) == _MENDED:
                break
        if not first:
            return None
        mended = self._screening.look(np.stack([self._screening.point(genome) for genome in genomes]))
        best = int(np.argmax(self._promised(mended)))
        return self._children[first[best]], genomes[best]

    def _promised(self, seen: Seen) -> Floats:
        return self._screening.promise(seen, self._factor, self._expected, self._shares)

    def _order(self) -> list[int]:
        order: list[int] = np.argsort(-self._promise, kind="stable").tolist()
        return order
