"""The population: its members, and how they compare. Pure.

Members compare by what the search optimises: one value (the fitness), or several by Pareto rank and crowding
distance. A network that breaks a hard constraint stands behind all that keep it. Failed evaluations are never members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Member:
    """An evaluated individual and what counts in comparisons.

    Parameters
    ----------
    individual, result
        The individual and the result of its evaluation.
    values
        One number for each objective; larger is better.
    violation
        By how much hard constraints are broken; 0 if they are kept.
    """

    individual: Individual
    result: Result
    values: tuple[float, ...]
    violation: float = 0.0


Survival = Callable[[Sequence[Member], int], list[Member]]  # members and capacity to the survivors


class Population:
    """The members that breed, at most `capacity` of them.

    Parameters
    ----------
    survival
        Chooses which members live on when there are too many.
    capacity
        Largest number of members; may be changed at any time.
    """

    def __init__(self, survival: Survival, capacity: int) -> None:
        self.survival = survival
        self.capacity = capacity
        self.members: list[Member] = []

    def __len__(self) -> int:
        return len(self.members)

    def add(self, member: Member) -> None:
        """Add a member, and remove the one that does not survive."""
        self.members.append(member)
        if len(self.members) > self.capacity:
            self.members = self.survival(self.members, self.capacity)

    def ranked(self) -> list[Member]:
        """Return the members, the best first."""
        placed = zip(standing(self.members), self.members, strict=True)
        return [member for _, member in sorted(placed, key=itemgetter(0))]


def standing(members: Sequence[Member]) -> list[int]:
    """Return the place of each member, 0 the best: constraints first, then Pareto rank, then crowding, then age.

    With one objective this is the order of the fitness.
    """
    if not members:
        return []
    values = np.array([m.values for m in members], dtype=float)
    violation = np.array([m.violation for m in members], dtype=float)
    age = np.array([-m.individual.id for m in members], dtype=float)
    if values.shape[1] == 1:
        order = np.lexsort((-age, -values[:, 0], violation))
    else:
        ranks = pareto_ranks(values)
        order = np.lexsort((-age, -crowding(values, ranks), ranks, violation))
    places = np.empty(len(members), dtype=int)
    places[order] = np.arange(len(members))
    return [int(p) for p in places]


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Tell whether the first is at least as good in every value and better in one.

    >>> dominates((1, 2), (1, 1)), dominates((1, 2), (2, 1))
    (True, False)
    """
    pairs = list(zip(first, second, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def pareto_ranks(values: Floats) -> NDArray[np.int64]:
    """Return for each row 0 if no other dominates it, 1 if only rows of rank 0 do, and so on.

    Parameters
    ----------
    values
        Shape (members, objectives); larger is better.

    >>> pareto_ranks(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [0.0, 0.0]])).tolist()
    [0, 0, 1, 2]
    """
    above = (values[:, None, :] >= values[None, :, :]).all(2) & (values[:, None, :] > values[None, :, :]).any(2)
    ranks = np.full(len(values), -1, dtype=np.int64)
    rank = 0
    while (ranks < 0).any():
        left = ranks < 0
        front = left & ~(above & left[:, None]).any(0)
        ranks[front] = rank
        rank += 1
    return ranks


def crowding(values: Floats, ranks: NDArray[np.int64]) -> Floats:
    """Return each row's crowding distance within its rank (Deb et al. 2002, doi:10.1109/4235.996017).

    It is infinite at the ends.

    Parameters
    ----------
    values
        Shape (members, objectives).
    ranks
        Pareto rank of each row.
    """
    distance = np.zeros(len(values))
    for rank in np.unique(ranks):
        rows = np.flatnonzero(ranks == rank)
        for column in values[rows].T:
            order = rows[np.argsort(column, kind="stable")]
            spread = np.ptp(column)
            distance[order[[0, -1]]] = np.inf
            if len(order) > 2 and spread > 0:
                ordered = np.sort(column)
                distance[order[1:-1]] += (ordered[2:] - ordered[:-2]) / spread
    return distance
