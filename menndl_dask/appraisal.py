"""How good a network is: its splits judged, its evidence of learning, its latency. Runs in the training process."""

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
from menndl_dask.cost import Cost
from menndl_dask.judge import judge_of
from menndl_dask.loop import Loop
from menndl_dask.loss import Loss, loss_minimising_constant
from menndl_dask.problem import Problem
from menndl_dask.sample import Samples
from menndl_dask.verdict import PARTS

Array = NDArray[Any]
_ACTIVATION_BYTES = 64e6  # of a batch that is only looked at, its images included
_BYTES = 4  # of a float32
_LARGEST_BATCH = 1024
_TRAINING_LABELS = 1_000_000  # suffice to say what the constant predictor's loss is
_LATENCY_REPEATS, _LATENCY_SECONDS = 7, 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a split says.

    Parameters
    ----------
    value, loss
        The metric and the mean loss.
    batch_losses
        The loss of each batch.
    fitness_gains
        If it was compared: by how much the fitness in each of `PARTS` parts of the split was better than the constant
        predictor's.
    """

    value: float
    loss: float
    batch_losses: tuple[float, ...]
    fitness_gains: tuple[float, ...] = ()


class Appraisal:
    """Judges one network.

    Parameters
    ----------
    problem
        With the metric and the loss.
    loss
        The problem's loss.
    loop
        Which computes the network's predictions.
    cost
        The network's, which says how large a batch may be.
    batch_size
        Of a training step: a batch that is only looked at is not smaller.
    """

    def __init__(self, problem: Problem, loss: Loss, loop: Loop, cost: Cost, batch_size: int) -> None:
        self._problem, self._loss, self._loop = problem, loss, loop
        given = sum(_BYTES * math.prod(shape) for shape in problem.facts.input_shapes)
        kept = given + sum(layer.activation_bytes for layer in cost.layers)
        self._batch_size = max(batch_size, min(_LARGEST_BATCH, int(_ACTIVATION_BYTES / kept)))

    def judge(self, samples: Samples, *, compared: bool = False) -> Look:
        """Look at a split.

        Parameters
        ----------
        samples
            The split.
        compared
            Whether the constant predictor is judged on it too.
        """
        whole = judge_of(self._problem)
        parts = min(PARTS, len(samples)) if compared else 0
        pairs = [(judge_of(self._problem), judge_of(self._problem)) for _ in range(parts)]
        constant = metric.prior_prediction(self._problem).astype("float32")
        losses, counts = [], []
        for images, labels in self._batches(samples):
            predictions, loss = self._loop.predict(images, labels)
            whole.update(labels, predictions)
            losses.append(loss)
            counts.append(len(labels))
            for part, (network, baseline) in enumerate(pairs):
                truth, guess = labels[part::parts], predictions[part::parts]
                if len(truth):
                    network.update(truth, guess)
                    baseline.update(truth, np.broadcast_to(constant, guess.shape))
        gains = tuple(self._fitness_gain(network.value(), baseline.value()) for network, baseline in pairs)
        return Look(whole.value(), float(np.average(losses, weights=counts)), tuple(losses), gains)

    def tested(self, samples: Samples) -> tuple[float, float | None]:
        """Return the metric of a split, and its standard error or nothing where there are too few samples to tell.

        By the jackknife: the metric is computed again without each of `PARTS` blocks of neighbouring samples, which
        often are from one scene or session (Efron and Stein 1981, doi:10.1214/aos/1176345462). Where that is nothing,
        as it is of a perfect score, it is what Laplace's rule of succession leaves of a share of errors when none was
        seen in so many samples.
        """
        blocks = np.arange(len(samples)) * PARTS // len(samples)
        whole, *judges = (judge_of(self._problem) for _ in range(1 + (PARTS if len(samples) >= PARTS else 0)))
        start = 0
        for images, labels in self._batches(samples):
            predictions, _ = self._loop.predict(images, labels)
            whole.update(labels, predictions)
            block = blocks[start : start + len(labels)]
            start += len(labels)
            for left_out, judge in enumerate(judges):
                if (kept := block != left_out).any():
                    judge.update(labels[kept], predictions[kept])
        if not judges:
            return whole.value(), None
        values = np.array([judge.value() for judge in judges])
        error = float(np.sqrt((PARTS - 1) / PARTS * ((values - values.mean()) ** 2).sum()))
        if not np.isfinite(error):
            return whole.value(), None
        return whole.value(), error or (1 / (len(samples) + 2) if whole.value() in (0.0, 1.0) else None)

    def signs(self, look: Look, samples: Samples, train_labels: Array, train_losses: Array) -> Iterator[Array]:
        """Yield by how much the network was better than the constant predictor, for `shows_learning`.

        The loss is asked beside the fitness because it moves first: a segmentation that still calls every pixel
        background may already have learnt where it is in doubt. The training loss, because batch normalisation lags
        behind in validation; the validation loss, because dropout worsens the training loss.

        Parameters
        ----------
        look
            At the validation split, compared.
        samples
            The validation split.
        train_labels
            Labels of the training split.
        train_losses
            Losses of the steps just taken; the later half is compared.
        """
        yield np.array(look.fitness_gains)
        enough = max(1, _TRAINING_LABELS // max(1, train_labels[0].size))
        reference = self._constant_loss(train_labels[:: max(1, len(train_labels) // enough)])
        yield reference - train_losses[len(train_losses) // 2 :]
        constant = [self._constant_loss(labels) for _, labels in self._batches(samples)]
        yield np.array(constant) - np.array(look.batch_losses)

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
