"""The loss that training minimises: class weights, ignored labels, standard units. Runs in the training process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from menndl_dask.errors import UserError
from menndl_dask.moments import scale_of
from menndl_dask.problem import WEIGHTED_CROSSENTROPY, Problem
from menndl_dask.training.user_function import is_reference, resolve

Tensor = Any  # of the Keras backend


class Loss(keras.losses.Loss):  # type: ignore[misc] # Keras ships no types
    """The loss of a problem, as a number for a batch.

    For classes a loss that gives a number for each label is averaged over the labels that are not ignored, each
    weighted by its class (`Problem.class_weights`); one that gives a number for the batch is taken as it is. For
    regression, Keras's losses are given labels and predictions in units of the labels' standard deviation, so that
    one learning rate suits every unit. A function of the user's own is given the labels of the data, ignored ones
    included, and the predictions of the model: class probabilities, or values in the user's unit.

    The problem's loss is ``weighted_crossentropy``, a name of Keras, or ``module:function``. Raises `UserError` if
    there is no such loss.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(name="loss", reduction="sum")
        self._of_classes = problem.task != "regression"
        self._ignore = problem.ignore
        self._outputs = problem.facts.outputs
        self._weights = np.asarray(problem.class_weights(), dtype="float32")
        facts = problem.facts
        self._scale = np.asarray(scale_of(facts.label_mean, facts.label_variance), dtype="float32")
        self._mean = np.asarray(facts.label_mean, dtype="float32")
        self._is_own = is_reference(problem.loss_name)
        self._is_sparse = problem.loss_name.lower().startswith((WEIGHTED_CROSSENTROPY, "sparse"))
        self._function = _function(problem.loss_name)

    def call(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the loss of a batch of class numbers ``(sample, …)`` and probabilities ``(sample, …, class)``.

        For regression both are values ``(sample, value)``.
        """
        if self._of_classes:
            return self._loss_of_classes(ops.cast(labels, "int32"), predictions)
        labels = ops.cast(labels, predictions.dtype)
        if not self._is_own:
            mean, scale = ops.convert_to_tensor(self._mean), ops.convert_to_tensor(self._scale)
            labels, predictions = (labels - mean) / scale, (predictions - mean) / scale
        return ops.mean(self._function(labels, predictions))

    def _loss_of_classes(self, labels: Tensor, predictions: Tensor) -> Tensor:
        ignore = -1 if self._ignore is None else self._ignore
        counted = ops.not_equal(labels, ignore)
        known = ops.where(counted, labels, ops.zeros_like(labels))
        mask = ops.cast(counted, predictions.dtype)
        truth = labels if self._is_own else known if self._is_sparse else ops.one_hot(known, self._outputs)
        values = self._function(truth, predictions)
        if len(values.shape) != len(labels.shape):
            if not self._is_own and not self._is_sparse:  # such as Dice: ignored labels are set to zero
                shown = ops.expand_dims(mask, -1)
                values = self._function(truth * shown, predictions * shown)
            return ops.mean(ops.cast(values, predictions.dtype))
        weights = mask * ops.take(ops.cast(self._weights, predictions.dtype), known, axis=0)
        return ops.sum(weights * ops.cast(values, predictions.dtype)) / ops.maximum(ops.sum(mask), 1.0)


def loss_minimising_constant(problem: Problem) -> NDArray[np.float32]:
    """Return the constant prediction that minimises the loss.

    That is the label mean; for classes their frequencies in the training split times their weights, because a weighted
    loss pulls every network there, whether it learns or not.
    """
    if problem.task == "regression":
        return np.asarray(problem.facts.label_mean, dtype="float32")
    likely = np.asarray(problem.facts.class_counts, dtype="float64") * np.asarray(problem.class_weights())
    return np.asarray(likely / max(likely.sum(), 1.0), dtype="float32")


def _crossentropy(labels: Tensor, predictions: Tensor) -> Tensor:
    """Return the cross-entropy of each label, which Keras is given in one row.

    For images PyTorch cannot go back through Keras's own form, where the classes come last.
    """
    row = ops.reshape(labels, (-1,)), ops.reshape(predictions, (-1, predictions.shape[-1]))
    return ops.reshape(keras.losses.sparse_categorical_crossentropy(*row), ops.shape(labels))


def _function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name == WEIGHTED_CROSSENTROPY:
        return _crossentropy
    try:
        found = resolve(name, "loss") if is_reference(name) else keras.losses.get(name)
        if found is keras.losses.sparse_categorical_crossentropy:
            return _crossentropy
    except ValueError as error:
        raise UserError(
            f"loss: expected {WEIGHTED_CROSSENTROPY}, a name of Keras or module:function, got {name!r}"
        ) from error
    if isinstance(found, type):
        found = found()
    # the bare function of a Keras loss gives a number for each label; called, the loss would average
    return found.call if isinstance(found, keras.losses.Loss) else found  # type: ignore[no-any-return]
