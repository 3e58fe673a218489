"""Validation: the scores of a network on a split, its evidence of learning, its latency. Runs in training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask import metric
from menndl_dask.data.staged_samples import Samples
from menndl_dask.genome.cost import Cost
from menndl_dask.problem import Problem
from menndl_dask.training.loop import Loop
from menndl_dask.training.loss import Loss, loss_minimising_constant
from menndl_dask.training.scorer import make_scorer
from menndl_dask.training.significance import PARTS

Array = NDArray[Any]
_ACTIVATION_BYTES = 64e6  # of a batch for prediction, its images included
_BYTES = 4  # of a float32
_LARGEST_BATCH = 1024
_TRAINING_LABELS = 1_000_000  # enough to compute the constant predictor's loss
_LATENCY_REPEATS, _LATENCY_SECONDS = 7, 1.0


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Scores of a network on a split."""

    value: float  # of the metric
    loss: float  # mean
    batch_losses: tuple[float, ...]  # of each batch
    # gain in fitness over the constant predictor in each of `PARTS` parts of the split; empty if not compared
    fitness_gains: tuple[float, ...] = ()


class Validator:
    """Computes the scores of one network, in batches of at least the training's size, limited by the network's cost."""

    def __init__(self, problem: Problem, loss: Loss, loop: Loop, cost: Cost, batch_size: int) -> None:
        self._problem, self._loss, self._loop = problem, loss, loop
        input_bytes = sum(_BYTES * math.prod(shape) for shape in problem.facts.input_shapes)
        sample_bytes = input_bytes + sum(layer.activation_bytes for layer in cost.layers)
        self._batch_size = max(batch_size, min(_LARGEST_BATCH, int(_ACTIVATION_BYTES / sample_bytes)))

    def validate(self, samples: Samples, *, compared: bool = False) -> ValidationScores:
        """Return the scores on a split; `compared` says whether the constant predictor is scored too."""
        whole = make_scorer(self._problem)
        parts = min(PARTS, len(samples)) if compared else 0
        pairs = [(make_scorer(self._problem), make_scorer(self._problem)) for _ in range(parts)]
        constant = metric.prior_prediction(self._problem).astype("float32")
        losses, counts = [], []
        for images, labels in self._batches(samples):
            predictions, loss = self._loop.predict(images, labels)
            whole.update(labels, predictions)
            losses.append(loss)
            counts.append(len(labels))
            for part, (network, baseline) in enumerate(pairs):
                truth, predicted = labels[part::parts], predictions[part::parts]
                if len(truth):
                    network.update(truth, predicted)
                    baseline.update(truth, np.broadcast_to(constant, predicted.shape))
        gains = tuple(self._fitness_gain(network.value(), baseline.value()) for network, baseline in pairs)
        return ValidationScores(whole.value(), float(np.average(losses, weights=counts)), tuple(losses), gains)

    def score_with_error(self, samples: Samples) -> tuple[float, float | None]:
        """Return the metric of a split and its standard error, or None if there are too few samples.

        The error is that of the jackknife: the metric is computed again without each of `PARTS` blocks of neighbouring
        samples, which often are from one scene or session (Efron and Stein 1981, doi:10.1214/aos/1176345462). If it is
        zero, as for a perfect score, it is the share of errors that Laplace's rule of succession expects when none was
        seen in so many samples.
        """
        blocks = np.arange(len(samples)) * PARTS // len(samples)
        whole, *scorers = (make_scorer(self._problem) for _ in range(1 + (PARTS if len(samples) >= PARTS else 0)))
        start = 0
        for images, labels in self._batches(samples):
            predictions, _ = self._loop.predict(images, labels)
            whole.update(labels, predictions)
            block = blocks[start : start + len(labels)]
            start += len(labels)
            for left_out, scorer in enumerate(scorers):
                if (kept := block != left_out).any():
                    scorer.update(labels[kept], predictions[kept])
        if not scorers:
            return whole.value(), None
        values = np.array([scorer.value() for scorer in scorers])
        error = float(np.sqrt((PARTS - 1) / PARTS * ((values - values.mean()) ** 2).sum()))
        if not np.isfinite(error):
            return whole.value(), None
        return whole.value(), error or (1 / (len(samples) + 2) if whole.value() in (0.0, 1.0) else None)

    def learning_evidence(
        self, scores: ValidationScores, samples: Samples, train_labels: Array, train_losses: Array
    ) -> Iterator[Array]:
        """Yield gains over the constant predictor, for `shows_learning`: fitness, training loss, validation loss.

        The losses are used beside the fitness because they change first: a segmentation that still calls every pixel
        background may already have learnt where it is in doubt. The training loss is used because batch normalisation
        makes validation lag behind; the validation loss because dropout makes the training loss worse. Of
        `train_losses`, those of the latest steps, the later half is used.
        """
        yield np.array(scores.fitness_gains)
        enough = max(1, _TRAINING_LABELS // max(1, train_labels[0].size))
        constant = self._constant_loss(train_labels[:: max(1, len(train_labels) // enough)])
        yield constant - train_losses[len(train_losses) // 2 :]
        constants = [self._constant_loss(labels) for _, labels in self._batches(samples)]
        yield np.array(constants) - np.array(scores.batch_losses)

    def latency_ms(self, samples: Samples) -> float:
        """Return the median time of a prediction for one sample, in milliseconds, after one that is not counted."""
        one = [np.asarray(view[:1]) for view in samples.images], np.asarray(samples.labels[:1])
        self._loop.predict(*one)
        taken: list[float] = []
        while len(taken) < _LATENCY_REPEATS and sum(taken) < _LATENCY_SECONDS:
            started = time.perf_counter()
            self._loop.predict(*one)
            taken.append(time.perf_counter() - started)
        return 1000.0 * float(np.median(taken))

    def _batches(self, samples: Samples) -> Iterator[tuple[list[Array], Array]]:
        for start in range(0, len(samples.labels), self._batch_size):
            chosen = slice(start, start + self._batch_size)
            yield [np.asarray(view[chosen]) for view in samples.images], np.asarray(samples.labels[chosen])

    def _fitness_gain(self, value: float, constant: float) -> float:
        return metric.to_fitness(self._problem, value) - metric.to_fitness(self._problem, constant)

    def _constant_loss(self, labels: Array) -> float:
        constant = loss_minimising_constant(self._problem)
        shape = labels.shape if self._problem.task == "regression" else (*labels.shape, len(constant))
        predictions = keras.ops.convert_to_tensor(np.broadcast_to(constant, shape).astype("float32"))
        loss = self._loss.call(keras.ops.convert_to_tensor(np.asarray(labels)), predictions)
        return float(keras.ops.convert_to_numpy(loss))
