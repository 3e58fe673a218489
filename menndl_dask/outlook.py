"""Outlooks: what the results that are known at one moment let expect of networks that were not evaluated. Pure.

MENNDL filtered its proposals with a support-vector machine (Johnston et al. 2017, doi:10.1145/3146347.3146352); here a
Gaussian process predicts fitness and viability with their uncertainty, from a bounded choice of the results. It is
fitted when somebody looks, so that a replayed journal costs nothing and predicts the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.objective import Objectives
from menndl_dask.surrogate import Expected, Kernel, Posterior, Sight, Viability, learn_kernel, scores

Floats = NDArray[np.float64]
POINTS = 320  # results that the surrogate is fitted to
FAILURES = 120  # failures among those that it learns viability from
_LEARNT = 150  # results that the kernel is learnt from
_LOW = -2.0  # what a failure is worth, beside scores of about ±2


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
    known
        How many results the outlook knew that they were looked at with.
    sight
        How it sees them.
    chance
        How likely each is viable.
    """

    points: Floats
    known: int
    sight: Sight
    chance: Floats

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """Return several as one."""
        points, chance = (np.concatenate(a) for a in zip(*((p.points, p.chance) for p in parts), strict=True))
        return cls(points, parts[0].known, Sight.joined([p.sight for p in parts]), chance)


class Lesson:
    """What the results teach about how much each respect counts in which networks differ.

    Parameters
    ----------
    entries
        The results.
    describe
        Turns their genomes into vectors.
    """

    def __init__(self, entries: Sequence[Entry], describe: Descriptor) -> None:
        self._entries, self._describe = entries, describe

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel, learnt when somebody wants it, for all outlooks that begin with it."""
        entries = chosen([e for e in self._entries if e.values is not None], _LEARNT)
        points = _stacked(entries, self._describe)
        assert self._describe.columns is not None
        return learn_kernel(points, _scored(entries)[:, 0], self._describe.columns)


@dataclass(frozen=True, slots=True)
class _Fit:
    """What was fitted to the results."""

    fitness: Posterior
    viability: Viability | None
    levels: Sequence[tuple[Floats, Floats]]  # each objective's values in order, and their scores
    broken: bool  # whether some result broke a hard constraint


class Outlook:
    """Predicts how much children promise, from the results known at one moment.

    Parameters
    ----------
    known
        How many results are known.
    entries
        A bounded choice of them.
    lesson
        What a choice of them, perhaps an earlier one, has taught.
    describe
        Turns genomes into vectors.
    objectives
        What the search compares, and its hard constraints. Costs that a genome itself tells are not predicted.
    flying
        What was being evaluated when the last of these results came home.
    """

    def __init__(
        self,
        known: int,
        entries: Sequence[Entry],
        lesson: Lesson,
        describe: Descriptor,
        objectives: Objectives,
        flying: Sequence[Genome] = (),
    ) -> None:
        self.known, self.describe = known, describe
        self._entries, self._lesson, self._objectives = entries, lesson, objectives
        self._flying = flying
        self._pending: dict[str, Sight] = {}

    @property
    def full(self) -> bool:
        """Whether as many results are known as are used at most."""
        return self.known >= POINTS

    def prepare(self) -> bool:
        """Compute one part of what looking at networks needs; return whether one was left.

        None of them takes longer than a few hundredths of a second. What is left is computed when it is needed.
        """
        for owner, part in ((self._lesson, "kernel"), (self, "_fit"), (self, "_at_first")):
            if part not in vars(owner):  # where a cached property keeps what it has computed
                getattr(owner, part)
                return True
        return False

    def look(self, points: Floats, before: Seen | None = None) -> Seen:
        """Return networks as the results let them be seen.

        Parameters
        ----------
        points
            Their descriptors, one a row. What is seen of a network depends, in its last digits, on those that it is
            looked at with: a replay must look at the same ones together.
        before
            What was seen of them earlier; returned where no more is known since.
        """
        if before is not None and before.known == self.known:
            return before
        fit = self._fit
        return Seen(points, self.known, *fit.fitness.look(points, fit.viability))

    def expecting(self, pending: Iterable[Genome]) -> Expected | None:
        """Return what is being evaluated, as it counts in `promise`."""
        # those that were in flight at first are looked at together, the others each by itself: alike in a replay
        before = {**self._at_first, **self._pending}
        fitness = self._fit.fitness
        self._pending = {g.key: before.get(g.key) or fitness.sight(self.describe.kept(g)[None]) for g in pending}
        return fitness.expecting(Sight.joined(list(self._pending.values()))) if self._pending else None

    def promise(
        self, seen: Seen, factor: float, expected: Expected | None = None, weights: Floats | None = None
    ) -> Floats:
        """Return how much each child promises: the upper confidence bound of its fitness, if it is viable.

        Parameters
        ----------
        seen
            The children, looked at with this outlook.
        factor
            How many standard deviations count. Drawn at random for each choice, it keeps those diverse that are chosen
            one after the other without a result in between.
        expected
            What is being evaluated.
        weights
            How much each of several objectives counts this time, all the same by default; the child is judged by the
            one in which it is worst (Chebyshev), so that drawn weights lead to all parts of the Pareto front.
        """
        fit = self._fit
        deviation = fit.fitness.deviation(seen.sight, expected)
        number = len(self._objectives.names)
        upper = seen.sight.mean[:, :number] + (factor * deviation)[:, None]
        for i, name in enumerate(self._objectives.names):
            known = self.describe.known_cost(name, seen.points)
            if known is not None:
                upper[:, i] = np.interp(-known, *fit.levels[i])
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
        if self._fit.broken:
            chance *= np.clip(1.0 + kept, 0.0, 1.0)
        for limit in self._objectives.limits:
            known = self.describe.known_cost(limit.name, seen.points)
            if known is not None:
                chance[(known > limit.bound) if limit.upper else (known < limit.bound)] = 0.0
        return chance

    @cached_property
    def _at_first(self) -> Mapping[str, Sight]:
        """What was in flight when this began: to look at many networks one by one takes ten times as long."""
        if not self._flying:
            return {}
        sight = self._fit.fitness.sight(np.stack([self.describe.kept(genome) for genome in self._flying]))
        return {genome.key: sight.one(i) for i, genome in enumerate(self._flying)}

    @cached_property
    def _fit(self) -> _Fit:
        kernel = self._lesson.kernel
        succeeded = chosen([e for e in self._entries if e.values is not None], POINTS)
        failed = [e for e in self._entries if e.values is None][-FAILURES:]
        scored, kept = _scored(succeeded), np.array([[float(e.kept) - 1.0] for e in succeeded])
        fitness = Posterior(kernel, _stacked(succeeded, self.describe), np.hstack([scored, kept]))
        values = np.array([e.values for e in succeeded])
        levels = [(np.sort(v), np.sort(z)) for v, z in zip(values.T, scored.T, strict=True)]
        viability = None
        if failed:
            place = {id(entry): i for i, entry in enumerate(succeeded)}
            some = [place[id(entry)] for entry in chosen(succeeded, POINTS - len(failed))]
            viability = fitness.viability(some, _stacked(failed, self.describe))
        self._entries = ()
        return _Fit(fitness, viability, levels, bool(kept.any()))


def _stacked(entries: Sequence[Entry], describe: Descriptor) -> Floats:
    return np.stack([describe.kept(entry.genome) for entry in entries])


def _scored(entries: Sequence[Entry]) -> Floats:
    values = np.array([e.values for e in entries])
    return np.stack([scores(column) for column in values.T], axis=1)
