"""Pruning rules: which fitness a network must have reached at a rung, or its training ends there. Pure.

A rung is a share of the training budget. The training process decides, by what was known when the network was
submitted, so no training waits for another. Two rules give the thresholds:

* **Behind** (asynchronous successive halving; Li et al. 2020, doi:10.48550/arXiv.1810.05934): too large a share of the
  networks before it did better at the same rung.
* **Out of reach** (learning-curve extrapolation): of the networks that were about as low at this rung and were trained
  to their end, none came near the best few. How much a network may still gain is learned from this run alone.

With several objectives, a network is compared with those that cost no more in any of them. The cheapest network is not
stopped, however unfit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menndl_dask.objective import FITNESS, Objectives, measured
from menndl_dask.problem import Budget
from menndl_dask.result import Result
from menndl_dask.training.request import Threshold

Floats = NDArray[np.float64]
KNOWN_COSTS = ("parameters", "flops_forward", "latency_ms", "memory_bytes")  # at a rung, and the same at the end
_ENOUGH = 12  # networks at a rung that are needed to compare
_FINISHED = 24  # networks trained to their end that are needed to extrapolate
_ALIKE = 12  # networks that were about as low; by chance, none of them comes near in one case of thirteen
_BEST_FEW = 5
_REMEMBERED = 400  # networks at each rung: a uniform sample of all
_CORNERS = 24  # thresholds of one rule at one rung, with several objectives
_EPSILON = 1e-9
_FITNESS_ALONE = Objectives()


@dataclass(frozen=True, slots=True)
class _Climber:
    """A network at a rung."""

    fitness: float  # at the rung
    costs: tuple[float, ...]
    end: float | None  # its final fitness, or None if it was stopped


class _Rung:
    """The networks that reached a rung: a uniform sample of all, and always the best few."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.sample: list[_Climber] = []
        self._best: list[_Climber] = []
        self._seen = 0
        self._rng = np.random.default_rng(0)

    def add(self, climber: _Climber) -> None:
        """Add a network; each network so far is kept with the same probability (reservoir sampling)."""
        self._seen += 1
        if len(self.sample) < _REMEMBERED:
            self.sample.append(climber)
        elif (place := int(self._rng.integers(self._seen))) < _REMEMBERED:
            self.sample[place] = climber
        if climber.end is not None:
            self._best = sorted([*self._best, climber], key=lambda c: -(c.end or 0.0))[:_REMEMBERED // 8]

    @property
    def finished(self) -> list[_Climber]:
        """The networks that were trained to their end: those of the sample, and the best few of all."""
        found = [c for c in self.sample if c.end is not None] + self._best
        return list({id(c): c for c in found}.values())


class PruningRules:
    """Collects the fitness of networks at the rungs, and returns what the next networks must reach there.

    The rules depend only on the results and their order, so a replayed journal gives the same thresholds. Memory is
    bounded. The budget has the rungs and the settings of the rules. A network that breaks a hard constraint of the
    objectives is not compared with.

    >>> rungs = PruningRules(Budget(epochs=4, rungs=(0.5,), rung_quantile=0.5))
    >>> for i in range(20):
    ...     curve = ({"share": 0.5, "fitness": i / 40}, {"share": 1.0, "fitness": i / 20})
    ...     rungs.tell(Result(i / 20, curve=curve))
    >>> [threshold] = rungs.thresholds()
    >>> threshold.share, threshold.fitness, threshold.why
    (0.5, 0.2375, 'of 20 networks before it, 50 % did better here')
    """

    def __init__(self, budget: Budget, objectives: Objectives = _FITNESS_ALONE) -> None:
        self._budget = budget
        self._objectives = objectives
        self._names = tuple(name for name in objectives.names if name != FITNESS)
        # costs that are known only at the end cannot be compared at a rung
        is_possible = FITNESS in objectives.names and set(self._names) <= set(KNOWN_COSTS)
        self._rungs = [_Rung(share) for share in budget.rungs] if is_possible else []
        self._initial: Result | None = None  # of the best initial network
        self._thresholds: tuple[Threshold, ...] | None = ()

    def tell(self, result: Result, *, is_initial: bool = False) -> None:
        """Add a result, maybe that of an initial network. One that failed otherwise than at a rung is ignored."""
        costs = [measured(result, name) for name in self._names]
        if result.failure not in (None, "pruned") or None in costs or self._objectives.breaks(result):
            return
        known = -np.inf if self._initial is None or self._initial.fitness is None else self._initial.fitness
        if is_initial and result.fitness is not None and result.fitness > known:
            self._initial = result
        for rung in self._rungs:
            reached = fitness_at(result.curve, rung.share)
            if reached is not None:
                rung.add(_Climber(reached, tuple(c for c in costs if c is not None), result.fitness))
                self._thresholds = None

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return the thresholds for a network that is submitted now."""
        if self._thresholds is None:
            self._thresholds = tuple(threshold for rung in self._rungs for threshold in self._thresholds_of(rung))
        return self._thresholds

    def _thresholds_of(self, rung: _Rung) -> list[Threshold]:
        thresholds: list[Threshold] = []
        if self._budget.rung_quantile < 1:
            thresholds += self._behind(rung)
        if self._budget.extrapolate:
            thresholds += self._out_of_reach(rung)
        if self._budget.extrapolate and rung is self._rungs[0]:
            thresholds += self._far_behind_initial(rung)
        return _lasting(thresholds)

    def _far_behind_initial(self, rung: _Rung) -> list[Threshold]:
        """Return the threshold as far below the initial network at the rung as that network ended above it.

        Only of the first rung: from a later one on a network gains so little that noise would decide.
        """
        if self._initial is None or self._initial.fitness is None:
            return []
        stood = fitness_at(self._initial.curve, rung.share)
        costs = np.array([measured(self._initial, name) for name in self._names], dtype=np.float64)
        if stood is None or np.isnan(costs).any():
            return []
        end = self._initial.fitness
        gained = f"the initial network had {stood:.4g} here and {end:.4g} at the end"
        why = f"{gained}; to be as good, this one would have to gain over twice as much"
        return [self._threshold(rung, stood - max(0.0, end - stood), why, costs)]

    def _behind(self, rung: _Rung) -> list[Threshold]:
        """Return thresholds at the fitness that a given share of the networks as cheap exceeded at the rung."""
        climbers = rung.sample
        if len(climbers) < _ENOUGH:
            return []
        fitness = np.array([c.fitness for c in climbers])
        costs = np.array([c.costs for c in climbers]).reshape(len(climbers), len(self._names))
        thresholds = []
        for corner in self._corners(costs):
            rivals = fitness[(costs <= corner).all(1)]
            if len(rivals) >= _ENOUGH:
                least = float(np.quantile(rivals, 1.0 - self._budget.rung_quantile))
                alike = " that cost no more" if self._names else ""
                share = f"{100 * self._budget.rung_quantile:.0f} %"
                why = f"of {len(rivals)} networks before it{alike}, {share} did better here"
                thresholds.append(self._threshold(rung, least, why, corner))
        return thresholds

    def _out_of_reach(self, rung: _Rung) -> list[Threshold]:
        """Return thresholds at the fitness below which no network came near the best few, or the Pareto front."""
        finished = sorted(rung.finished, key=lambda c: c.fitness)
        if len(finished) < _FINISHED:
            return []
        stood = np.array([c.fitness for c in finished])
        ends = np.array([c.end for c in finished], dtype=np.float64)
        if not self._names:
            goals = [(float(np.sort(ends)[-_BEST_FEW]), np.zeros(0))]
            group = f"the best {_BEST_FEW}"
        else:
            costs = np.array([c.costs for c in finished])
            goals = [(float(ends[i]), costs[i]) for i in _front(ends, costs)]
            group = "a network that is no larger"
        # the highest final fitness of the networks that were about as low, for each window from the lowest on
        reach = np.lib.stride_tricks.sliding_window_view(ends, _ALIKE).max(1)
        thresholds = []
        for goal, corner in goals:
            near = np.flatnonzero(reach >= goal)
            lowest = int(near[0]) + _ALIKE // 2 if near[0] else 0  # the middle of the first window that is near
            if lowest:
                why = f"of the networks that were as low here, none came near {group} ({goal:.4g})"
                thresholds.append(self._threshold(rung, float(stood[lowest]), why, corner))
        return thresholds

    def _corners(self, costs: Floats) -> Iterable[Floats]:
        """Return the costs to compare at: those of some networks; with a single objective there are none."""
        if not self._names:
            return [np.zeros(0)]
        order = np.lexsort(costs.T[::-1])
        return list(costs[order[np.unique(np.linspace(0, len(order) - 1, _CORNERS).astype(int))]])

    def _threshold(self, rung: _Rung, fitness: float, why: str, corner: Floats) -> Threshold:
        return Threshold(rung.share, fitness, why, dict(zip(self._names, corner.tolist(), strict=True)))


def fitness_at(curve: Sequence[Mapping[str, float]], share: float) -> float | None:
    """Return the fitness at the first validation after a share of the budget; None if there was none.

    >>> curve = [{"share": 0.25, "fitness": 0.1}, {"share": 0.5, "fitness": 0.4}]
    >>> fitness_at(curve, 0.3), fitness_at(curve, 0.6)
    (0.4, None)
    """
    found = (point["fitness"] for point in curve if point.get("share", 0.0) >= share - _EPSILON)
    return next(found, None)


def _front(ends: Floats, costs: Floats) -> list[int]:
    """Return the indices of networks that no other network beats in fitness and all costs."""
    found: list[int] = []
    for i in np.lexsort((*costs.T[::-1], -ends)).tolist():
        if not any((costs[j] <= costs[i]).all() for j in found):
            found.append(i)
    return found[:_CORNERS]


def _lasting(thresholds: Sequence[Threshold]) -> list[Threshold]:
    """Return the thresholds that are not implied by another one."""
    kept: list[Threshold] = []
    for threshold in sorted(thresholds, key=lambda b: -b.fitness):
        if not any(all(threshold.costs[name] >= least for name, least in other.costs.items()) for other in kept):
            kept.append(threshold)
    return kept
