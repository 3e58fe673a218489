"""What a search will take: its networks dealt to its workers again and again, with what is not certain drawn. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.run.forecast.forecast import CostForecast, Interval
from menndl_dask.search.forecast.service_time import ServiceTimes, Work

Floats = NDArray[np.float64]
_DRAWS = 200
_SAMPLE = 5000  # evaluations of a drawn search, at most: the others are like them
_STOPPED_AT = 0.45  # share of its training after which a network is stopped, the mean
_EXACT = 300  # evaluations up to which each is dealt to a worker; more are divided
_LOW, _HIGH = 10, 90  # percentiles of the intervals
_FLOAT_BYTES = 4
_FEWEST_COMPARED = 12  # networks at a rung before early stopping compares
_LINE_BYTES, _CURVE_BYTES = 4500.0, 200.0  # of the journal for a network: its genome and result twice; a validation
_KEPT = 3  # trained networks that a run keeps
_USUAL_START = Interval(7.0, 4.0, 15.0)  # seconds
_USUAL_SAVED = Interval(0.2, 0.08, 0.32)  # benchmarks/early_stopping.md: 14 to 29 %
_DRIFT = 0.2  # relative: the networks that evolution prefers may be smaller or larger than random ones


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known before a search.

    Parameters
    ----------
    times
        How long evaluations take.
    genomes
        Networks as those that the search will evaluate: drawn from its space, or those of an earlier run.
    in_words
        Where this is from, for people.
    doubt
        Relative standard error of all times beside that of `times`, such as for another load or machine.
    drift
        The same for networks that evolution prefers, which may not be like `genomes`.
    saved
        Share of the training time that early stopping saves; None for the usual one.
    start_s
        Seconds until a worker can train its first network: Keras is imported.
    """

    times: ServiceTimes
    genomes: Sequence[Genome]
    in_words: str
    doubt: float = 0.1
    drift: float = _DRIFT
    saved: Interval | None = None
    start_s: Interval = _USUAL_START


def forecast(
    problem: Problem, basis: Basis, *, workers: int, evaluations: int | None, hours: float | None = None,
    nodes: int = 1, comparison_s: Interval | None = None, done: int = 0, spent_s: float = 0.0,
) -> CostForecast:  # fmt: skip
    """Return what a search is expected to cost.

    Parameters
    ----------
    problem
        With the training that each network gets.
    basis
        What is known.
    workers, nodes
        Trainings at a time, and machines that they run on.
    evaluations, hours
        The budget of the search, at least one of the two.
    comparison_s
        Seconds of the comparison at the end, if known.
    done, spent_s
        Evaluations that are done, and the seconds that they have taken.
    """
    if evaluations is None and hours is None:
        raise ValueError("evaluations or hours: expected at least one, got neither")
    training, other = basis.times.seconds([Work.of(genome, problem) for genome in basis.genomes])
    most = math.inf if evaluations is None else evaluations
    limit_s = math.inf if hours is None else 3600 * hours
    saved = _saved(problem, basis, most, workers)
    draw = _Draw(basis, training, other, saved, workers, most, limit_s, done, spent_s)
    rng = np.random.default_rng(0)
    spans, counts, each_s, shares = np.array([draw.search(rng) for _ in range(_DRAWS)]).T
    count = float(np.median(counts))
    written = _written(problem, basis.genomes, count)
    return CostForecast(
        evaluations=round(count),
        workers=workers,
        nodes=nodes,
        seconds=_interval(spans),
        per_hour=_interval(3600 * counts / spans),
        network_s=_interval(each_s),
        saved=_interval(shares),
        staged_bytes=staged_bytes(problem),
        written_bytes=Interval(written, 0.6 * written, 1.8 * written),
        basis=basis.in_words,
        comparison_s=comparison_s,
        after=done,
    )


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws searches; see `forecast`. `training` and `other` are the seconds of the basis's networks."""

    basis: Basis
    training: Floats
    other: Floats
    saved: Interval
    workers: int
    most: float  # evaluations
    limit_s: float
    done: int
    spent_s: float

    def search(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        """Draw one: its seconds, its evaluations, the mean seconds of one, and the share that early stopping saves."""
        basis, training, other = self.basis, self.training, self.other
        doubt = math.hypot(basis.times.doubt, basis.doubt, basis.drift)
        share = float(np.clip(_drawn(rng, self.saved), 0.0, 0.9))
        factor = math.exp(doubt * rng.standard_normal())
        mean_s = factor * float(np.mean(training * (1 - share) + other))
        count = min(self.most, self.done + max(1.0, self.workers * (self.limit_s - self.spent_s) / mean_s))
        left = max(0, int(count) - self.done)
        chosen = rng.integers(len(training), size=min(max(left, 1), _SAMPLE))
        noise = np.exp(basis.times.noise * rng.standard_normal(len(chosen)) - basis.times.noise**2 / 2)
        # a part of the networks is stopped at a third or two thirds; the others are trained to their end
        length = np.where(rng.random(len(chosen)) < share / (1 - _STOPPED_AT), _STOPPED_AT, 1.0)
        seconds = factor * (training[chosen] * length * noise + other[chosen])
        span = self.spent_s + (0.0 if self.done else max(0.0, _drawn(rng, basis.start_s)))
        span += _dealt(seconds, self.workers, left) if left else 0.0
        return min(span, self.limit_s + mean_s), max(count // 1, 1.0), float(seconds.mean()), share


def _dealt(seconds: Floats, workers: int, count: int) -> float:
    """Return the seconds until all evaluations have ended, where a free worker takes the next one."""
    if count > _EXACT:
        rest = float((seconds**2).mean() / (2 * seconds.mean()))  # of an evaluation that is running
        return count * float(seconds.mean()) / workers + rest * (workers - 1) / workers
    free = [0.0] * workers
    for each in seconds.tolist():
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def comparison(
    times: ServiceTimes, problem: Problem, standard: Genome, *, workers: int, retrain: float, finalists: int
) -> Interval:
    """Return the seconds of the comparison at the end: longer trainings, of the standard network and of the best."""
    training, other = (float(each[0]) for each in times.seconds([Work.of(standard, problem)]))
    longer = other + retrain * training if retrain > 0 else 0.0
    trainings = [longer] * (finalists + 1) + [other + training]
    seconds = _dealt(np.array(sorted(trainings, reverse=True)), workers, len(trainings))
    return Interval(seconds, 0.6 * seconds, 1.7 * seconds)


def staged_bytes(problem: Problem) -> float:
    """Return the bytes of the samples on each node's disk, as float32."""
    facts = problem.facts
    shapes = facts.input_shapes
    if problem.patches is not None and facts.image_sizes:
        shapes = tuple((*facts.image_sizes[1], shape[-1]) for shape in shapes)
    values = sum(math.prod(shape) for shape in shapes)
    labels = math.prod(shapes[0][:-1]) if problem.by_pixel else facts.outputs
    return float(sum(facts.samples) * (_FLOAT_BYTES * values + labels))


def _saved(problem: Problem, basis: Basis, evaluations: float, workers: int) -> Interval:
    """Return the share that early stopping saves: nothing is compared before some networks are at a rung."""
    if not problem.budget.early_stopping and not problem.budget.rungs:
        return Interval.of(0.0)
    if basis.saved is not None:
        return basis.saved
    first = _FEWEST_COMPARED + workers
    share = max(0.0, 1 - first / max(evaluations, 1))
    usual = _USUAL_SAVED
    return Interval(usual.value * share, max(0.0, usual.low * share - 0.05), usual.high * share + 0.05)


def _written(problem: Problem, genomes: Sequence[Genome], count: float) -> float:
    """Return the bytes of a run directory: the journal, its copy as a table, and a few networks."""
    weights = float(np.mean([cost_of(genome, problem).parameters for genome in genomes])) * _FLOAT_BYTES
    points = min(20.0, problem.budget.epochs or 10.0)
    return count * (_LINE_BYTES + _CURVE_BYTES * points) + (_KEPT + 3) * weights + 3e5


def _drawn(rng: np.random.Generator, interval: Interval) -> float:
    """Draw from a distribution with the interval's value as its middle, in the interval four times of five."""
    z = float(rng.standard_normal()) / 1.2816
    return interval.value + z * (interval.high - interval.value if z > 0 else interval.value - interval.low)


def _interval(values: Floats) -> Interval:
    return Interval(float(np.median(values)), *(float(each) for each in np.percentile(values, (_LOW, _HIGH))))
