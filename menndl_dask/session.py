"""Sessions: contests that serve several networks in a row, and the rounds that they have yet to go through. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from menndl_dask.contest import Contest, Terms
from menndl_dask.genome import Genome
from menndl_dask.litter import Child, Litter, Operators
from menndl_dask.space import SearchSpace


class Round(NamedTuple):
    """A round that is put down: the number of the network that it is for, its terms, and whose children enter."""

    number: int
    terms: Terms
    entering: Sequence[Litter]


class Session:
    """A contest for several networks in a row.

    Rounds are put down where networks are asked for and where a journal is replayed, which costs nothing. They are held
    in this order, when somebody wants a network or has time; when that is makes no difference.

    Parameters
    ----------
    number
        Of the first network.
    space, operators, objectives
        As those of `Contest`.

    Attributes
    ----------
    latest
        Number of the network for which the latest round was put down.
    breeders
        Numbers of those that may be parents of the children that compete.
    """

    def __init__(self, number: int, space: SearchSpace, operators: Operators, objectives: int) -> None:
        self.number = self.latest = number
        self.breeders: set[int] = set()
        self._given = (space, operators, objectives)
        self._rounds: deque[Round] = deque()
        self._breeding: Iterator[int] = iter(())  # what is left of the round that is being held
        self.contest: Contest | None = None

    def put_down(self, number: int, terms: Terms, entering: Sequence[Litter]) -> None:
        """Put down a round, to be held later."""
        self._rounds.append(Round(number, terms, entering))
        self.latest = number
        self.breeders.update(*(litter.breeders for litter in entering))

    def winner(self, number: int, terms: Terms, known: Container[str], *, late: bool) -> tuple[Child, Genome] | None:
        """Return the most promising child that is not known, and what it is mended to; nothing if all are known.

        Parameters
        ----------
        number
            Of the network that is wanted.
        terms
            On which it is chosen.
        known
            Keys of the networks that were asked for.
        late
            Hold a round that was put down for this network only afterwards.
        """
        while self._rounds and (self.contest is None or self._rounds[0].number < number + (not late)):
            self.hold()
        for _ in self._breeding:
            pass
        assert self.contest is not None
        if self.contest.terms.seed != terms.seed:  # else the round for this network is what was held last
            self.contest.begin(terms)
        return self.contest.winner(known)

    def hold(self) -> bool:
        """Hold a part of the next round; return whether there was one left."""
        if next(self._breeding, 0):
            return True
        if not self._rounds:
            return False
        _, terms, entering = self._rounds.popleft()
        if self.contest is None:
            self.contest = Contest(*self._given, terms)
        else:
            self.contest.begin(terms)
        litters = [litter for litter in entering if litter.children]
        if litters:
            children = [child for litter in litters for child in litter.children]
            self.contest.enter(children, np.concatenate([litter.points(terms.outlook.describe) for litter in litters]))
        self._breeding = self.contest.evolve()
        return True
