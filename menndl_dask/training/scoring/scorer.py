"""Scorers of predictions: our metrics, Keras's and the user's own. Runs in the training process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import UserError
from menndl_dask.metric import BUILT_IN, Measure
from menndl_dask.own_code import is_reference
from menndl_dask.problem import Problem
from menndl_dask.training.user_function import resolve

Array = NDArray[Any]


class Scorer(Protocol):
    """Computes a metric batch by batch."""

    def update(self, labels: Array, predictions: Array) -> None:
        """Add a batch: class numbers or values, and class probabilities or values."""

    def value(self) -> float:
        """Return the metric of all batches."""


def make_scorer(problem: Problem) -> Scorer:
    """Return a new scorer for a problem's metric; raises `UserError` if there is no such metric."""
    name = problem.metric_name
    if name in BUILT_IN:
        return Measure(name, outputs=problem.facts.outputs, ignore=problem.ignore)
    found = resolve(name, "metric") if is_reference(name) else _keras_metric(name)
    if isinstance(found, type):
        found = found()
    if isinstance(found, keras.metrics.Metric):
        return _KerasScorer(found, problem)
    if is_reference(name):
        return _FunctionScorer(found)
    return _KerasScorer(keras.metrics.MeanMetricWrapper(found, name=name), problem)


def takes_whole_images(problem: Problem) -> bool:
    """Return whether the metric is a function of the user's own, which a part of an image would not suit."""
    return isinstance(make_scorer(problem), _FunctionScorer)


class _KerasScorer:
    """A metric of Keras; class numbers become one-hot vectors for metrics that need them."""

    def __init__(self, metric: keras.metrics.Metric, problem: Problem) -> None:
        self._metric = metric
        self._ignore, self._outputs = problem.ignore, problem.facts.outputs
        names = f"{metric.name} {type(metric).__name__}".lower()
        self._is_regression = problem.task == "regression"
        self._is_one_hot = problem.task != "regression" and "sparse" not in names

    def update(self, labels: Array, predictions: Array) -> None:
        weights = None
        if self._ignore is not None:
            weights = (labels != self._ignore).astype("float32")
            labels = np.where(labels == self._ignore, 0, labels)
        if self._is_one_hot:
            labels = np.eye(self._outputs, dtype="float32")[labels.astype("int64")]
        if self._is_regression:
            labels = np.reshape(labels, np.shape(predictions))  # pixels have one value each
            if (missing := np.isnan(labels)).any():
                weights, labels = (~missing.any(axis=-1)).astype("float32"), np.nan_to_num(labels)
        self._metric.update_state(labels, predictions, sample_weight=weights)

    def value(self) -> float:
        return float(self._metric.result())


class _FunctionScorer:
    """A function of the user's own, ``(labels, predictions) -> number``, of the whole split at once, in numpy.

    If images have different sizes, it is called for each batch of them, and the mean over the images is the metric.
    """

    def __init__(self, function: Callable[[Array, Array], float]) -> None:
        self._function = function
        self._labels: list[Array] = []
        self._predictions: list[Array] = []

    def update(self, labels: Array, predictions: Array) -> None:
        self._labels.append(np.asarray(labels))
        self._predictions.append(np.asarray(predictions))

    def value(self) -> float:
        if len({labels.shape[1:] for labels in self._labels}) == 1:
            return float(self._function(np.concatenate(self._labels), np.concatenate(self._predictions)))
        values = [float(self._function(*batch)) for batch in zip(self._labels, self._predictions, strict=True)]
        return float(np.average(values, weights=list(map(len, self._labels))))


def _keras_metric(name: str) -> Any:
    try:
        return keras.metrics.get(name)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"metric: expected one of {', '.join(BUILT_IN)}, a name of Keras or module:function, got {name!r} ({error})"
        ) from error
