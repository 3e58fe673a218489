"""Metrics without a framework, and the scores of predictors that ignore the image. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from menndl_dask.errors import DataError, UserError
from menndl_dask.moments import Moments
from menndl_dask.problem import Problem

BUILT_IN: Mapping[str, str] = {
    "accuracy": "max",
    "balanced_accuracy": "max",
    "mean_iou": "max",
    "mean_dice": "max",
    "r2": "max",
    "mean_squared_error": "min",
    "mean_absolute_error": "min",
}
"""The built-in metrics, and whether a larger (``max``) or a smaller (``min``) value is better."""

_OF_VALUES = ("r2", "mean_squared_error", "mean_absolute_error")


class Measure:
    """A metric of predictions, updated batch by batch in constant memory.

    ``accuracy`` is the share of right samples or pixels; ``balanced_accuracy`` the mean recall of the classes that
    occur in the labels; ``mean_iou`` (intersection over union, Jaccard) and ``mean_dice`` are means over the classes
    that occur in labels or predictions. ``r2`` (coefficient of determination), ``mean_squared_error`` and
    ``mean_absolute_error`` are means over the values to predict; ``r2`` of a value that never varies is 1 for a perfect
    prediction and 0 for any other.

    Parameters
    ----------
    name
        A key of `BUILT_IN`.
    outputs
        Number of classes, or of values to predict.
    ignore
        Class label that is ignored.

    Examples
    --------
    >>> measure = Measure("mean_iou", outputs=2, ignore=255)
    >>> measure.update([0, 1, 1, 255], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    >>> measure.value()
    0.5
    """

    def __init__(self, name: str, *, outputs: int, ignore: int | None = None) -> None:
        if name not in BUILT_IN:
            raise UserError(f"metric: expected one of {', '.join(BUILT_IN)}, got {name!r}")
        self.name = name
        self._counts: _ClassCounts | _TargetErrors = (
            _TargetErrors(outputs) if name in _OF_VALUES else _ClassCounts(outputs, ignore)
        )

    def update(self, labels: ArrayLike, predictions: ArrayLike, times: ArrayLike | None = None) -> None:
        """Add a batch: class numbers ``(sample, …)`` and probabilities ``(sample, …, class)``, or values of both.

        Values are ``(sample, value)``. `times` says how often each label counts; once by default.
        """
        self._counts.update(np.asarray(labels), np.asarray(predictions), None if times is None else np.asarray(times))

    def value(self) -> float:
        """Return the metric of all batches; NaN if there were no labels or a prediction was NaN."""
        return float(getattr(self._counts, self.name)())

    def sums(self) -> NDArray[np.float64]:
        """Return what the metric is computed from, as sums that add up over samples; see `values_of`.

        Of classes the rows are hits, labels and predictions ``(3, class)``; of values the number of labels, their sum
        and sum of squares, and the squared and absolute errors ``(5, value)``.
        """
        return self._counts.sums()


def values_of(name: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a metric for each of many sums of `Measure.sums`, ``(…, row, output)``; NaN without labels.

    >>> measure = Measure("mean_iou", outputs=2)
    >>> measure.update([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> values_of("mean_iou", measure.sums()[np.newaxis]).tolist() == [measure.value()]
    True
    """
    rows = np.moveaxis(np.asarray(sums, dtype=np.float64), -2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if name in _OF_VALUES:
            count, total, squares, squared, absolute = rows
            if name == "mean_absolute_error":
                return np.asarray((absolute / count).mean(axis=-1))
            if name == "mean_squared_error":
                return np.asarray((squared / count).mean(axis=-1))
            whole = squares - total**2 / count
            unvaried = np.where(squared > 0, 0.0, 1.0)
            explained = np.where(whole > 0, 1.0 - squared / whole, unvaried)
            return np.where((count > 0).all(axis=-1), explained.mean(axis=-1), math.nan)
        hits, labels, predicted = rows
        part, whole = {
            "accuracy": (hits.sum(axis=-1, keepdims=True), labels.sum(axis=-1, keepdims=True)),
            "balanced_accuracy": (hits, labels),
            "mean_iou": (hits, labels + predicted - hits),
            "mean_dice": (2 * hits, labels + predicted),
        }[name]
        occurs = whole > 0
        shares = np.where(occurs, part / whole, 0.0).sum(axis=-1) / occurs.sum(axis=-1)
        return np.where(labels.any(axis=-1), shares, math.nan)


class _ClassCounts:
    """Hits, labels and predictions of each class, from which all metrics of classes follow."""

    def __init__(self, outputs: int, ignore: int | None) -> None:
        self.ignore = ignore
        self.hits, self.labels, self.predicted = np.zeros((3, outputs))
        self.broken = False

    def update(self, labels: NDArray[Any], predictions: NDArray[Any], times: NDArray[Any] | None) -> None:
        outputs = len(self.hits)
        if predictions.shape != (*labels.shape, outputs):
            expected = (*labels.shape, outputs)
            raise DataError(f"metric: expected predictions of shape {expected}, got {predictions.shape}")
        self.broken |= bool(np.isnan(predictions).any())
        flat, found = labels.reshape(-1), predictions.argmax(axis=-1).reshape(-1)
        weight = np.ones(len(flat)) if times is None else np.broadcast_to(times, labels.shape).reshape(-1)
        if self.ignore is not None:
            kept = flat != self.ignore
            flat, found, weight = flat[kept], found[kept], weight[kept]
        if len(flat) and (flat.min() < 0 or flat.max() >= outputs):
            raise DataError(f"metric: expected labels from 0 to {outputs - 1}, got {flat.min()} to {flat.max()}")
        self.labels += np.bincount(flat, weight, outputs)
        self.predicted += np.bincount(found, weight, outputs)
        right = flat == found
        self.hits += np.bincount(flat[right], weight[right], outputs)

    def sums(self) -> NDArray[np.float64]:
        return np.stack([self.hits, self.labels, self.predicted]) * (math.nan if self.broken else 1.0)

    def _mean(self, part: NDArray[Any], whole: NDArray[Any]) -> float:
        occurs = whole > 0
        if self.broken or not self.labels.any():
            return math.nan
        return float(np.mean(part[occurs] / whole[occurs]))

    def accuracy(self) -> float:
        return self._mean(self.hits.sum(keepdims=True), self.labels.sum(keepdims=True))

    def balanced_accuracy(self) -> float:
        return self._mean(self.hits, self.labels)

    def mean_iou(self) -> float:
        return self._mean(self.hits, self.labels + self.predicted - self.hits)

    def mean_dice(self) -> float:
        return self._mean(2 * self.hits, self.labels + self.predicted)


class _TargetErrors:
    """Errors of each regression target, and the variance of its labels; labels with NaN are not counted."""

    def __init__(self, outputs: int) -> None:
        self.spread = Moments(outputs)
        self.count = 0
        self.squared, self.absolute, self.total, self.squares = np.zeros((4, outputs))

    def update(self, labels: NDArray[Any], predictions: NDArray[Any], times: NDArray[Any] | None) -> None:
        outputs = len(self.spread.count)
        sizes = (len(labels), labels.size // max(1, len(labels)) % outputs)
        if labels.size != predictions.size or sizes != (len(predictions), 0):
            raise DataError(f"metric: expected predictions of shape {(len(labels), outputs)}, got {predictions.shape}")
        truth = labels.reshape(-1, outputs).astype(np.float64)
        guess = predictions.reshape(-1, outputs).astype(np.float64)
        if times is not None:
            truth, guess = (np.repeat(v, times, axis=0) for v in (truth, guess))
        if (missing := np.isnan(truth).any(axis=-1)).any():
            truth, guess = truth[~missing], guess[~missing]
        self.spread.update(truth)
        self.count += len(truth)
        self.total += truth.sum(axis=0)
        self.squares += np.square(truth).sum(axis=0)
        self.squared += np.square(guess - truth).sum(axis=0)
        self.absolute += np.abs(guess - truth).sum(axis=0)

    def sums(self) -> NDArray[np.float64]:
        counts = np.full(len(self.squared), float(self.count))
        return np.stack([counts, self.total, self.squares, self.squared, self.absolute])

    def mean_squared_error(self) -> float:
        return float(np.mean(self.squared / self.count)) if self.count else math.nan

    def mean_absolute_error(self) -> float:
        return float(np.mean(self.absolute / self.count)) if self.count else math.nan

    def r2(self) -> float:
        if not self.count:
            return math.nan
        squared, whole = self.squared, self.spread.squares
        unvaried = np.where(squared > 0, 0.0, 1.0)
        explained = 1.0 - squared / np.where(whole > 0, whole, 1.0)
        return float(np.mean(np.where((whole > 0) | np.isnan(squared), explained, unvaried)))


def suits(metric: str, task: str) -> bool:
    """Return whether a metric suits a task; True for a metric that is not built in.

    >>> suits("r2", "regression"), suits("accuracy", "regression"), suits("my_module:score", "regression")
    (True, False, True)
    """
    return metric not in BUILT_IN or (metric in _OF_VALUES) == (task == "regression")


def to_fitness(problem: Problem, value: float) -> float:
    """Return the fitness, larger is better, of a value of the problem's metric."""
    return value if problem.metric_mode == "max" else -value


def prior_prediction(problem: Problem) -> NDArray[np.float64]:
    """Return the best prediction without an image: class frequencies or label mean of the training split."""
    if problem.task == "regression":
        return np.asarray(problem.facts.label_mean, dtype=np.float64)
    counts: NDArray[np.float64] = np.asarray(problem.facts.class_counts, dtype=np.float64)
    return counts / max(float(counts.sum()), 1.0)


def constant_fitness_of_sums(problem: Problem, sums: ArrayLike) -> float | None:
    """Return the fitness of `prior_prediction` for values of pixels, from their number, sum and sum of squares.

    None if the metric does not follow from these.
    """
    number, total, squares = np.asarray(sums, dtype=np.float64).tolist()
    constant = float(prior_prediction(problem)[0])
    squared = squares - 2 * constant * total + constant**2 * number
    rows = np.array([[number], [total], [squares], [squared], [math.nan]])
    if problem.metric_name not in _OF_VALUES or math.isnan(value := float(values_of(problem.metric_name, rows))):
        return None
    return to_fitness(problem, value)


def constant_fitness(problem: Problem, labels: ArrayLike, times: ArrayLike | None = None) -> float | None:
    """Return the fitness of `prior_prediction` for labels of the validation split; None if the metric is not built in.

    `times` says how often each label counts: for classes, ``arange(classes)`` with their counts as `times` will do.
    """
    if problem.metric_name not in BUILT_IN:
        return None
    truth = np.asarray(labels)
    constant = prior_prediction(problem)
    shape = truth.shape if problem.task == "regression" else (*truth.shape, len(constant))
    measure = Measure(problem.metric_name, outputs=problem.facts.outputs, ignore=problem.ignore)
    measure.update(truth, np.broadcast_to(constant, shape), times)
    return to_fitness(problem, measure.value())
