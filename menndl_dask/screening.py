"""Screening: which of many children is worth an evaluation. Pure.

MENNDL filtered its proposals with a support-vector machine (Johnston et al. 2017, doi:10.1145/3146347.3146352); here a
Gaussian process predicts fitness and viability with their uncertainty, from a bounded choice of all results so far.
What it predicts depends only on the results and their order, and it is fitted when somebody asks, so that a replayed
journal costs nothing and predicts the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.objective import Objectives
from menndl_dask.space import SearchSpace
from menndl_dask.surrogate import Expected, Kernel, Posterior, Sight, learn_kernel, scores

Floats = NDArray[np.float64]
_POINTS = 320  # results that the surrogate is fitted to
_FAILURES = 120  # failures among those that it learns viability from
_LEARNT = 150  # results that the kernel is learnt from
_REMEMBERED = 4000  # descriptors that are kept
_ENOUGH, _SUCCEEDED = 8, 2  # results, and successes among them, without which nothing is predicted
_LOW = -2.0  # what a failure is worth, beside scores of about ±2
_FITNESS_ALONE = Objectives()


@dataclass(slots=True, eq=False)
class Entry:
    """An evaluated network.

    Parameters
    ----------
    genome
        The network.
    values
        One number for each objective, larger is better; nothing for a failure.
    kept
        Whether all hard constraints were kept.
    """

    genome: Genome
    values: tuple[float, ...] | None
    kept: bool = True


class Archive:
    """A bounded choice of all results: the best, the latest, and of the others evenly from good to bad."""

    def __init__(self, limit: int = 3 * _POINTS) -> None:
        self._limit = limit
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take a result, and thin the others out when there are too many."""
        self.entries.append(entry)
        if len(self.entries) > self._limit:
            older, latest = self.entries[:-_FAILURES], self.entries[-_FAILURES:]
            succeeded = [e for e in older if e.values is not None]
            failed = [e for e in older if e.values is None]
            room = self._limit // 2 - _FAILURES
            kept = {id(e) for e in (*chosen(succeeded, room), *failed[-_FAILURES:], *latest)}
            self.entries = [e for e in self.entries if id(e) in kept]


def chosen(entries: Sequence[Entry], number: int) -> list[Entry]:
    """Return so many successes: half of them the best, the others evenly from the rest, in the order given."""
    if len(entries) <= number:
        return list(entries)
    fitness = np.array([e.values[0] for e in entries if e.values is not None])
    order = np.argsort(-fitness, kind="stable")
    best = order[: number // 2]
    rest = order[number // 2 :]
    evenly = rest[np.linspace(0, len(rest) - 1, number - len(best)).astype(int)]
    return [entries[i] for i in sorted((*best.tolist(), *evenly.tolist()))]


@dataclass(frozen=True, slots=True)
class Seen:
    """Networks as they were last looked at.

    Parameters
    ----------
    points
        Their descriptors, one a row.
    fit
        Number of the fit that looked at them.
    sight
        How it sees them.
    chance
        How likely each is viable.
    """

    points: Floats
    fit: int
    sight: Sight
    chance: Floats

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """Return several as one."""
        points, chance = (np.concatenate(a) for a in zip(*((p.points, p.chance) for p in parts), strict=True))
        return cls(points, parts[0].fit, Sight.joined([p.sight for p in parts]), chance)


class Screening:
    """Predicts how much children promise, from the results told so far.

    Parameters
    ----------
    space
        Where the genomes are from.
    objectives
        What the search compares, and its hard constraints. Costs that a genome itself tells are not predicted.
    """

    def __init__(self, space: SearchSpace, objectives: Objectives = _FITNESS_ALONE) -> None:
        self.describe = Descriptor(space)
        self._objectives = objectives
        self._archive = Archive()
        self._points: dict[str, Floats] = {}
        self._told = self._successes = 0
        self._next_fit = self._next_kernel = 0
        self._kernel_of: list[Entry] | None = None  # what the kernel is to be learnt from, when somebody asks
        self._fit_of: list[Entry] | None = None
        self._kernel: Kernel | None = None
        self._fitness: Posterior | None = None
        self._viability: Posterior | None = None
        self._levels: list[tuple[Floats, Floats]] = []  # each objective's values in order, and their scores
        self._fits = 0
        self._pending: dict[str, Seen] = {}
        self._broken = False  # whether some result broke a hard constraint

    @property
    def ready(self) -> bool:
        """Whether enough is known for predictions."""
        return self._told >= _ENOUGH and self._successes >= _SUCCEEDED

    @property
    def full(self) -> bool:
        """Whether as many results are known as are used at most."""
        return self._told >= _POINTS

    def tell(self, entry: Entry) -> None:
        """Take a result. Nothing is computed yet: only what to fit to is put down."""
        self._archive.add(entry)
        self._told += 1
        self._successes += entry.values is not None
        if not self.ready:
            return
        if self._told >= self._next_kernel:
            self._kernel_of = list(self._archive.entries)
            self._next_kernel = self._told + min(max(5, self._told // 4), 250)
        if self._told >= self._next_fit:
            self._fit_of = list(self._archive.entries)
            self._next_fit = self._told + min(max(1, self._told // 40), 32)

    def point(self, genome: Genome) -> Floats:
        """Return the descriptor of a genome, which is kept for a while."""
        found = self._points.get(genome.key)
        if found is None:
            found = self.describe(genome)
            if len(self._points) > _REMEMBERED:
                self._points = dict(list(self._points.items())[_REMEMBERED // 2 :])
            self._points[genome.key] = found
        return found

    def points(self, genomes: Sequence[Genome], parents: Sequence[Genome]) -> Floats:
        """Return the descriptors of children as they were bred, one a row; each costs about what its parent costs."""
        return self.describe.together(genomes, [self.point(parent) for parent in parents])

    def look(self, points: Floats, before: Seen | None = None) -> Seen:
        """Return networks as the results known now let them be seen.

        Parameters
        ----------
        points
            Their descriptors, one a row. What is seen of a network depends, in its last digits, on those that it is
            looked at with: a replay must look at the same ones together.
        before
            What was seen of them earlier; returned where nothing has changed since.
        """
        if self._kernel_of is None and self._fit_of is None and before is not None and before.fit == self._fits:
            return before
        with _single_threaded():
            self._fit()
            if before is not None and before.fit == self._fits:
                return before
            assert self._fitness is not None
            chance = np.ones(len(points))
            if self._viability is not None:
                chance = np.clip(1.0 + self._viability.mean(points)[:, 0], 0.0, 1.0)
            return Seen(points, self._fits, self._fitness.sight(points), chance)

    def expecting(self, pending: Iterable[Genome]) -> Expected | None:
        """Return what is being evaluated, as it counts in `promise`; until the next result is told."""
        # each is looked at by itself, so that it is seen alike in a replay
        before = self._pending
        self._pending = {g.key: self.look(self.point(g)[None], before.get(g.key)) for g in pending}
        if not self._pending:
            return None
        assert self._fitness is not None
        with _single_threaded():
            return self._fitness.expecting(Sight.joined([seen.sight for seen in self._pending.values()]))

    def promise(
        self, seen: Seen, factor: float, expected: Expected | None = None, weights: Floats | None = None
    ) -> Floats:
        """Return how much each child promises: the upper confidence bound of its fitness, if it is viable.

        Parameters
        ----------
        seen
            The children, looked at since the last result was told.
        factor
            How many standard deviations count. Drawn at random for each choice, it keeps those diverse that are chosen
            one after the other without a result in between.
        expected
            What is being evaluated.
        weights
            How much each of several objectives counts this time, all the same by default; the child is judged by the
            one in which it is worst (Chebyshev), so that drawn weights lead to all parts of the Pareto front.
        """
        assert self._fitness is not None
        with _single_threaded():
            deviation = self._fitness.deviation(seen.sight, expected)
        number = len(self._objectives.names)
        upper = seen.sight.mean[:, :number] + (factor * deviation)[:, None]
        for i, name in enumerate(self._objectives.names):
            known = self.describe.known_cost(name, seen.points)
            if known is not None:
                upper[:, i] = np.interp(-known, *self._levels[i])
        if number == 1:
            promise = upper[:, 0]
        else:
            shares = np.full(number, 1 / number) if weights is None else np.maximum(weights, 0.02)
            over = (upper - _LOW) / (shares * number)
            promise = _LOW + over.min(1) + 0.05 * over.mean(1)
        chance = self._chance(seen, seen.sight.mean[:, number])
        found: Floats = chance * promise + (1.0 - chance) * _LOW
        return found

    def _chance(self, seen: Seen, kept: Floats) -> Floats:
        """Return how likely it is that a child is viable and keeps the hard constraints."""
        chance = seen.chance.copy()
        if self._broken:
            chance *= np.clip(1.0 + kept, 0.0, 1.0)
        for limit in self._objectives.limits:
            known = self.describe.known_cost(limit.name, seen.points)
            if known is not None:
                chance[(known > limit.bound) if limit.upper else (known < limit.bound)] = 0.0
        return chance

    def _fit(self) -> None:
        if self._kernel_of is not None:
            entries = chosen([e for e in self._kernel_of if e.values is not None], _LEARNT)
            self._kernel = learn_kernel(self._stacked(entries), _scored(entries)[:, 0], self._columns())
            self._kernel_of = None
        if self._fit_of is None:
            return
        assert self._kernel is not None
        succeeded = chosen([e for e in self._fit_of if e.values is not None], _POINTS)
        failed = [e for e in self._fit_of if e.values is None][-_FAILURES:]
        scored, kept = _scored(succeeded), np.array([[float(e.kept) - 1.0] for e in succeeded])
        self._broken = bool(kept.any())
        self._fitness = Posterior(self._kernel, self._stacked(succeeded), np.hstack([scored, kept]))
        values = np.array([e.values for e in succeeded])
        self._levels = [(np.sort(v), np.sort(z)) for v, z in zip(values.T, scored.T, strict=True)]
        self._viability = None
        if failed:
            both = [*chosen(succeeded, _POINTS - len(failed)), *failed]
            viable = np.array([[0.0 if e.values is not None else -1.0] for e in both])
            self._viability = Posterior(self._kernel, self._stacked(both), viable)
        self._fit_of = None
        self._fits += 1

    def _stacked(self, entries: Sequence[Entry]) -> Floats:
        return np.stack([self.point(entry.genome) for entry in entries])

    def _columns(self) -> NDArray[np.int64]:
        assert self.describe.columns is not None
        return self.describe.columns


def _scored(entries: Sequence[Entry]) -> Floats:
    values = np.array([e.values for e in entries])
    return np.stack([scores(column) for column in values.T], axis=1)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _single_threaded() -> AbstractContextManager[object]:
    # matrices are small, and the other cores train networks: threads that wait for each other there cost a
    # hundred times what they save
    return _controller().limit(limits=1)  # type: ignore[no-any-return]
