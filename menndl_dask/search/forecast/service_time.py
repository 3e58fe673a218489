"""How long an evaluation takes: from trainings that were measured and what networks cost by their genomes. Pure.

A step takes a time of its own, time for its floating-point operations and time for the values that it moves. Measured
trainings give the three rates. With few of them they stay near usual proportions, so that one training is enough for an
estimate. The rates are those of the machine as it was: with the same neighbours and the same load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Problem
from menndl_dask.result import Result

Floats = NDArray[np.float64]
# seconds of a step on one core of a CPU: for itself and each layer, for a FLOP, for a byte of activations; the middle
# of what random networks for micrographs and for digits took, 30 November 2026
_USUAL = np.array([1e-3, 1e-3, 2.5e-11, 4e-9])
_TRUST = 0.7  # weight of these proportions, beside that of a measured training
_NOISE = 0.15  # relative error of a prediction at least: what the rates do not say of a network
_VALIDATIONS = 4  # of a training: after a third, at two rungs and at the end
_ENDS = 2  # layers that take as long as what a graph has beside its layers
_SLACK = 0.25  # the same where a single network was measured


@dataclass(frozen=True, slots=True)
class Work:
    """What a step of a network does, and how many steps its training has."""

    layers: int
    flops: float
    bytes: float
    steps: float

    @classmethod
    def of(cls, genome: Genome, problem: Problem) -> Work:
        """Return the work of a network; raises `InfeasibleError` if it cannot be built."""
        cost, batch = cost_of(genome, problem), batch_of(genome, problem)
        moved = batch * sum(layer.activation_bytes for layer in cost.layers)
        return cls(len(cost.layers), batch * cost.flops_training, moved, steps_of(genome, problem))

    @property
    def parts(self) -> Floats:
        """The amounts that the rates are of."""
        return np.array([1.0, self.layers, self.flops, self.bytes])


@dataclass(frozen=True, slots=True)
class Timed:
    """A training that was measured.

    Parameters
    ----------
    work
        Of its network.
    step_s
        Seconds of an optimiser step.
    other_s
        Seconds of the evaluation beside its steps, without the start of the process.
    """

    work: Work
    step_s: float
    other_s: float

    @classmethod
    def of(cls, genome: Genome, result: Result, problem: Problem) -> Timed | None:
        """Return what an evaluation took; None if it took no step."""
        done, train_s = result.costs.get("flops_training", 0.0), result.times.get("train", 0.0)
        if not done or not train_s or "total" not in result.times:
            return None
        work = Work.of(genome, problem)
        steps = done / work.flops
        before = result.costs.get("train_seconds", train_s)  # with the time before a checkpoint
        other = result.times["total"] - train_s - max(0.0, result.times.get("start", 0.0))
        return cls(work, max(before, train_s) / steps, max(0.0, other)) if steps >= 1 else None


    @classmethod
    def of_short(cls, genome: Genome, result: Result, tried: Problem, problem: Problem) -> Timed | None:
        """Return what a whole evaluation takes, by a short training for `tried`; None if it was never validated."""
        done = result.costs.get("flops_training", 0.0)
        steps = round(done / Work.of(genome, tried).flops)
        if not result.curve or not steps:
            return None
        measure_s = result.times.get("measure", 0.0) / len(result.curve) * _VALIDATIONS
        other = measure_s + result.times.get("data", 0.0) + result.times.get("build", 0.0)
        return cls(Work.of(genome, problem), result.curve[-1]["seconds"] / steps, other)


class ServiceTimes:
    """Predicts how long evaluations take without early stopping, from trainings that were measured.

    Parameters
    ----------
    timed
        The trainings, at least one.
    seconds
        Of the budget of a training; None if it has none in seconds.

    Attributes
    ----------
    noise
        Relative standard deviation of a network's time around its prediction.
    doubt
        Relative standard error that all predictions share.
    """

    def __init__(self, timed: Sequence[Timed], seconds: float | None = None) -> None:
        if not timed:
            raise ValueError("timed: expected at least one training")
        self._seconds = seconds
        parts = np.array([each.work.parts for each in timed])
        step_s = np.array([each.step_s for each in timed])
        self.rates = _rates(parts, step_s)
        errors = np.log(step_s / (parts @ self.rates))
        count = len(timed)
        spread = float(np.std(errors)) if count > 2 else 0.0
        self.noise = max(_NOISE, spread)
        self.doubt = float(np.hypot(self.noise / np.sqrt(count), _SLACK / count))
        # mostly to build the graph, layer by layer
        self._layer_s = float(sum(each.other_s for each in timed) / sum(_ENDS + each.work.layers for each in timed))

    def seconds(self, work: Sequence[Work]) -> tuple[Floats, Floats]:
        """Return the seconds of training and those beside it, of each network."""
        steps = np.array([each.steps for each in work])
        training = steps * (np.array([each.parts for each in work]) @ self.rates)
        if self._seconds is not None:
            training = np.minimum(training, self._seconds)
        return training, self._layer_s * np.array([_ENDS + each.layers for each in work])


def steps_of(genome: Genome, problem: Problem) -> float:
    """Return the steps of a network's training by its budget; infinite if that is in seconds only."""
    budget, batch = problem.budget, batch_of(genome, problem)
    samples = problem.facts.samples[0] if problem.patches is None else problem.patches.per_epoch
    ends = [np.inf]
    if budget.epochs is not None:
        ends.append(budget.epochs * -(-samples // batch))
    if budget.steps is not None:
        ends.append(budget.steps)
    if budget.flops is not None:
        ends.append(budget.flops / (batch * cost_of(genome, problem).flops_training))
    return float(min(ends))


def batch_of(genome: Genome, problem: Problem) -> int:
    """Return the samples in a step: those of the training gene, if the genome has one."""
    own = (gene.batch_size for gene in genome.settings if isinstance(gene, Training))
    return next(own, problem.budget.batch_size)


def _rates(parts: Floats, step_s: Floats) -> Floats:
    """Return the rates with the smallest relative errors, of measured steps and of the usual proportions."""
    speed = float(np.exp(np.mean(np.log(step_s / (parts @ _USUAL)))))
    usual = speed * _USUAL
    measured = parts / step_s[:, None]
    typical = np.abs(measured).mean(0) * usual  # share that each rate has in a step
    prior = np.diag(_TRUST * np.maximum(typical, 1e-3) / usual)
    matrix = np.vstack([measured, prior])
    found, _ = nnls(matrix, np.concatenate([np.ones(len(step_s)), prior @ usual]))
    # the smallest relative errors are those of rates that are too low, the more the steps scatter
    return np.asarray(found, dtype=np.float64) * float(np.mean(step_s / (parts @ found)))
