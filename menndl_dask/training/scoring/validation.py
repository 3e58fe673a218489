"""Validation: the scores of a network on a split, its evidence of learning, its latency. Runs in training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask import metric
from menndl_dask.data.staged_images import StagedImage
from menndl_dask.data.staged_samples import Samples
from menndl_dask.genome.cost import Cost
from menndl_dask.problem import Problem
from menndl_dask.training.batches import Source
from menndl_dask.training.loop import Loop
from menndl_dask.training.loss import Loss, constant_losses, loss_minimising_constant
from menndl_dask.training.scoring.examples import Examples
from menndl_dask.training.scoring.scorer import make_scorer, takes_whole_images
from menndl_dask.training.scoring.significance import PARTS
from menndl_dask.training.scoring.split_prediction import (
    Part,
    SamplePrediction,
    SplitPrediction,
    TiledPrediction,
    WindowPrediction,
)

Array = NDArray[Any]
_ACTIVATION_BYTES = 64e6  # of a batch for prediction, its images included
_BYTES = 4  # of a float32
_LARGEST_BATCH = 1024
_TRAINING_LABELS, _TRAINING_BATCHES = 1_000_000, 4  # enough to compute the constant predictor's loss
_MOST_SUMS = 10_000_000  # numbers that are kept of a test split
_LATENCY_REPEATS, _LATENCY_SECONDS = 7, 1.0


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Scores of a network on a split."""

    value: float  # of the metric
    loss: float  # mean
    # gains over the constant predictor: in fitness in each of `PARTS` parts of the split, in loss in each batch or
    # block; empty if not compared
    fitness_gains: tuple[float, ...] = ()
    loss_gains: tuple[float, ...] = ()


class Validator:
    """Computes the scores of one network, in batches of at least the training's size, limited by the network's cost.

    `source` has the training samples, of which the constant predictor knows the labels.
    """

    def __init__(self, problem: Problem, loss: Loss, loop: Loop, cost: Cost, batch_size: int, source: Source) -> None:
        self._problem, self._loss, self._loop = problem, loss, loop
        self._source, self._training_batch = source, batch_size
        input_bytes = sum(_BYTES * math.prod(shape) for shape in problem.facts.input_shapes)
        sample_bytes = input_bytes + sum(layer.activation_bytes for layer in cost.layers)
        self._batch_size = max(batch_size, min(_LARGEST_BATCH, int(_ACTIVATION_BYTES / sample_bytes)))

    def predicting(self, samples: Samples | Sequence[StagedImage], tiles: int | None = None) -> SplitPrediction:
        """Return how a split is predicted: samples as they are, large images by tiles or windows, at most `tiles`."""
        if isinstance(samples, Samples):
            return SamplePrediction(samples, self._batch_size)
        if self._problem.by_pixel:
            whole = takes_whole_images(self._problem)
            return TiledPrediction(samples, self._problem, self._batch_size, tiles, whole_images=whole)
        return WindowPrediction(samples, self._problem, self._batch_size, tiles)

    def validate(self, split: SplitPrediction, *, compared: bool = False) -> ValidationScores:
        """Return the scores on a split; `compared` says whether the constant predictor is scored too."""
        whole = make_scorer(self._problem)
        parts = min(PARTS, split.units) if compared else 0
        pairs = [(make_scorer(self._problem), make_scorer(self._problem)) for _ in range(parts)]
        constant = metric.prior_prediction(self._problem).astype("float32")
        losses: list[float] = []
        baseline_losses: list[float] = []
        counts: list[int] = []
        for found in split.parts(self._loop.predict):
            whole.update(found.labels, found.predictions)
            losses.append(self._loss_of(*found.for_loss))
            counts.append(found.labels.size)
            if compared:
                baseline_losses.extend(self._constant_losses([found.for_loss[0]]))
            for part, (network, baseline) in enumerate(pairs):
                chosen = found.units % parts == part
                if chosen.any():
                    predicted = found.predictions[chosen]
                    network.update(found.labels[chosen], predicted)
                    baseline.update(found.labels[chosen], np.broadcast_to(constant, predicted.shape))
        gains = tuple(self._fitness_gain(network.value(), baseline.value()) for network, baseline in pairs)
        loss_gains = tuple(np.subtract(baseline_losses, losses).tolist()) if compared else ()
        return ValidationScores(whole.value(), float(np.average(losses, weights=counts)), gains, loss_gains)

    def score_with_error(
        self, split: SplitPrediction, sums: Array | None = None, examples: Examples | None = None
    ) -> tuple[float, float | None]:
        """Return the metric of a split and its standard error, or None if there are too few samples.

        The error is that of the jackknife: the metric is computed again without each of some groups (Efron and Stein
        1981, doi:10.1214/aos/1176345462). Groups are `PARTS` blocks of neighbouring samples, which often are from one
        scene or session. Of images that are predicted by tiles or windows, a group is a whole image, or neighbouring
        ones if there are more than `PARTS`; of one image only, `PARTS` parts of it. If the error is zero, as for a
        perfect score, it is the share of errors that Laplace's rule of succession expects when none was seen in so
        many samples (images, or parts of one).

        Where the metric is built in, what it is computed from is added to `sums`, ``(unit, row, output)``; see
        `no_sums`. Samples that are worth a look are added to `examples`.
        """
        groups = np.zeros(split.units, int) if split.groups is None else split.groups
        count = int(groups.max()) + 1
        whole, *scorers = (make_scorer(self._problem) for _ in range(1 + (count if count > 1 else 0)))
        for found in split.parts(self._loop.predict):
            whole.update(found.labels, found.predictions)
            if sums is not None:
                self._add_sums(sums, found)
            if examples is not None:
                examples.update(found.units, found.labels, found.predictions, found.images)
            of_group = groups[found.units]
            for left_out, scorer in enumerate(scorers):
                if (kept := of_group != left_out).any():
                    scorer.update(found.labels[kept], found.predictions[kept])
        if not scorers:
            return whole.value(), None
        values = np.array([scorer.value() for scorer in scorers])
        error = float(np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum()))
        if not np.isfinite(error):
            return whole.value(), None
        return whole.value(), error or (1 / (split.images + 2) if whole.value() in (0.0, 1.0) else None)

    def no_sums(self, split: SplitPrediction) -> Array | None:
        """Return zeros for the sums of each unit of a split; None if they are too many, or the metric is not ours."""
        if self._problem.metric_name not in metric.BUILT_IN:
            return None
        shape = (split.units, *self._measure().sums().shape)
        return np.zeros(shape) if math.prod(shape) <= _MOST_SUMS else None

    def _measure(self) -> metric.Measure:
        problem = self._problem
        return metric.Measure(problem.metric_name, outputs=problem.facts.outputs, ignore=problem.ignore)

    def _add_sums(self, sums: Array, found: Part) -> None:
        for unit in np.unique(found.units):
            measure, chosen = self._measure(), found.units == unit
            measure.update(found.labels[chosen], found.predictions[chosen])
            sums[unit] += measure.sums()

    def learning_evidence(self, scores: ValidationScores, train_losses: Array) -> Iterator[Array]:
        """Yield gains over the constant predictor, for `shows_learning`: fitness, training loss, validation loss.

        The losses are used beside the fitness because they change first: a segmentation that still calls every pixel
        background may already have learnt where it is in doubt. The training loss is used because batch normalisation
        makes validation lag behind; the validation loss because dropout makes the training loss worse. Of
        `train_losses`, those of the latest steps, the later half is used.
        """
        yield np.array(scores.fitness_gains)
        yield self._constant_losses(self._label_batches).mean() - train_losses[len(train_losses) // 2 :]
        yield np.array(scores.loss_gains)

    def latency_ms(self, split: SplitPrediction) -> float:
        """Return the median time of a prediction for one sample, in milliseconds, after one that is not counted."""
        one = split.one()
        self._loop.predict(one)
        taken: list[float] = []
        while len(taken) < _LATENCY_REPEATS and sum(taken) < _LATENCY_SECONDS:
            started = time.perf_counter()
            self._loop.predict(one)
            taken.append(time.perf_counter() - started)
        return 1000.0 * float(np.median(taken))

    def _fitness_gain(self, value: float, constant: float) -> float:
        return metric.to_fitness(self._problem, value) - metric.to_fitness(self._problem, constant)

    @cached_property
    def _label_batches(self) -> list[Array]:
        """Labels of some training samples, in batches as in training: a loss such as Dice depends on the batch."""
        size = self._training_batch
        shape = self._problem.facts.input_shapes[0]
        each = math.prod(shape[:-1]) if self._problem.by_pixel else 1
        labels = self._source.labels(max(_TRAINING_LABELS, _TRAINING_BATCHES * size * each))
        labels = labels[np.random.default_rng(0).permutation(len(labels))]
        return [labels[start : start + size] for start in range(0, len(labels), size)]

    @cached_property
    def _constant(self) -> Array:
        return loss_minimising_constant(self._problem, self._label_batches)

    def _constant_losses(self, batches: Sequence[Array]) -> Array:
        return constant_losses(self._problem, self._loss, self._constant, batches)

    def _loss_of(self, labels: Array, predictions: Array) -> float:
        loss = self._loss.call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(predictions))
        return float(keras.ops.convert_to_numpy(loss))
