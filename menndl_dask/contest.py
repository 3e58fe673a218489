"""Contests: many children compete to be the next network that is evaluated. Pure.

A surrogate judges them. Those that it finds most promising breed again, with each other and by mutation, before any is
evaluated, and so do their children, as long as that finds more promising ones: what the results have taught leads
further than one step from the networks that gave them. A contest goes through several rounds, from one result to the
next, so that what was bred for one network serves those after it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from menndl_dask.genome import Genome
from menndl_dask.litter import Child, Operators, Parent, points
from menndl_dask.outlook import Outlook, Seen
from menndl_dask.population import Floats
from menndl_dask.space import SearchSpace

_CURIOSITY = 1.0  # mean number of standard deviations by which children may be better than expected
_MENDED = 4  # promising children that are brought into the space, before the best of them is taken
_PAIR = 2  # children in a tournament for breeding again
_BROOD, _LEADING = 8, 4  # children of a generation, and of how many parents
_GENERATIONS, _PATIENCE = 16, 3  # at most, and at first without a more promising child while little is known
_LED = 8  # different parents where each must be mended, which costs more than all else


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a round is held.

    Parameters
    ----------
    outlook
        Who judges.
    weights
        How often each operator is used.
    pending
        What is being evaluated.
    seed
        Of all that is random in the round.
    """

    outlook: Outlook
    weights: Mapping[str, float]
    pending: tuple[Genome, ...]
    seed: tuple[int, ...]


class Contest:
    """Children that compete for evaluations, round after round.

    Parameters
    ----------
    space
        Where the winners are brought into.
    operators
        How children are bred.
    objectives
        How many things the search compares.
    terms
        Of the first round.
    """

    def __init__(self, space: SearchSpace, operators: Operators, objectives: int, terms: Terms) -> None:
        self._space, self._operators, self._objectives = space, operators, objectives
        self._children: list[Child] = []
        self._seen: list[Seen] = []
        self._foreseen: Seen | None = None  # all children, as the outlook of a coming round sees them
        self._promise = np.zeros(0)
        self._evolved = False
        self.begin(terms)

    def begin(self, terms: Terms) -> None:
        """Begin another round: the same children, as they are judged by now, with another curiosity.

        A round in which no child enters may be passed over in a replay.
        """
        self.terms, self._outlook = terms, terms.outlook
        self._rng = np.random.default_rng(terms.seed)
        self._expected = self._outlook.expecting(terms.pending)
        # the same for all children of a round, or the luckiest would win instead of the most promising
        self._factor = _CURIOSITY * self._rng.exponential()
        self._shares = self._rng.dirichlet(np.ones(self._objectives))  # how much each objective counts this time
        if self._seen:
            self.prepare(self._outlook)
            assert self._foreseen is not None
            self._seen = [self._foreseen]
            self._promise = self._promised(self._seen[0])

    def prepare(self, outlook: Outlook) -> bool:
        """Look at all children for a coming round, as its outlook sees them; return whether that was left to do.

        Where more enter before that round all are looked at once more, as they would be without this.
        """
        if not self._children:
            return False
        seen = self._foreseen
        if seen is not None and seen.known == outlook.known and len(seen.points) == len(self._children):
            return False
        self._seen = [Seen.joined(self._seen)]
        self._foreseen = outlook.look(self._seen[0].points, self._seen[0])
        return True

    def enter(self, children: Sequence[Child], points: Floats) -> None:
        """Let children in, given with their descriptors, one a row."""
        seen = self._outlook.look(points)
        self._children += children
        self._seen.append(seen)
        self._promise = np.concatenate([self._promise, self._promised(seen)])

    def evolve(self) -> Iterator[int]:
        """Let the most promising children breed, again and again, until their children promise no more than they do.

        The first time, while little is known, they are given several generations for that. As soon as the surrogate has
        all the results that it can hold, or where there are those already that an earlier round has bred, the first
        generation in vain is the last.

        Yields
        ------
        int
            The number of each generation, when it is bred: whoever has better things to do may do them first.
        """
        if not self._children:
            return
        patience = 1 if self._evolved or self._outlook.full else _PATIENCE
        self._evolved = True
        led: set[str] = set()
        vain = 0
        for generation in range(1, _GENERATIONS + 1):
            promised = self._promise.max()
            led |= self.breed(_BROOD, _LEADING)
            yield generation
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
        bred = list(self._operators.breed(list(leading.values()), self.terms.weights, _PAIR, number, self._rng))
        for place, child in enumerate(bred, len(self._children)):
            child.seed = (*self.terms.seed, place)
        self.enter(bred, points(bred, self._outlook.describe))
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
        mended = self._outlook.look(np.stack([self._outlook.describe.kept(genome) for genome in genomes]))
        best = int(np.argmax(self._promised(mended)))
        return self._children[first[best]], genomes[best]

    def mend(self, known: Container[str]) -> bool:
        """Mend one of those that may come out first next time, ahead of that; return whether one was left."""
        likely = 0
        for i in self._order():
            child = self._children[i]
            if not child.is_mended:
                self._outlook.describe.kept(child.mended(self._space))
                return True
            likely += child.mended(self._space).key not in known
            if likely == _MENDED:
                break
        return False

    def _promised(self, seen: Seen) -> Floats:
        return self._outlook.promise(seen, self._factor, self._expected, self._shares)

    def _order(self) -> list[int]:
        order: list[int] = np.argsort(-self._promise, kind="stable").tolist()
        return order
