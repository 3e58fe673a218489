"""The loss that training minimises: class weights, ignored labels, standard units. Runs in the training process.

Dice and Tversky losses are our own: Keras's average over pixels before classes or not at all, count ignored labels as
predictions of zero, and its Tversky loss weighs false negatives, not false positives, by alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.optimize import minimize

from menndl_dask.errors import UserError, nearest
from menndl_dask.moments import scale_of
from menndl_dask.own_code import is_reference
from menndl_dask.problem import LOSSES, WEIGHTED_CROSSENTROPY, Problem, read_loss
from menndl_dask.training.user_function import resolve

Tensor = Any  # of the Keras backend
Array = NDArray[Any]
_LEAST = 1e-7  # Keras's: probabilities are not lower in a logarithm
_WITH_CROSSENTROPY = (WEIGHTED_CROSSENTROPY, "dice_crossentropy")
_OF_OVERLAP = {"dice": 0.5, "dice_crossentropy": 0.5}  # and alpha


class Loss(keras.losses.Loss):  # type: ignore[misc] # Keras ships no types
    """The loss of a problem, as a number for a batch.

    For classes a loss that gives a number for each label is averaged over the labels that are not ignored, each
    weighted by its class (`Problem.class_weights`); one that gives a number for the batch is taken as it is. For
    regression, Keras's losses are given labels and predictions in units of the labels' standard deviation, so that
    one learning rate suits every unit. A function of the user's own is given the labels of the data, ignored ones
    included, and the predictions of the model: class probabilities, or values in the user's unit.

    The problem's loss is one of `LOSSES`, a name of Keras, or ``module:function``. Raises `UserError` if there is no
    such loss. Our own, for probabilities p and one-hot labels t:

    ``weighted_crossentropy``
        -log p of the label's class.
    ``focal``
        -(1 - p)**gamma log p; gamma is 2 unless given (Lin et al. 2017, doi:10.1109/ICCV.2017.324).
    ``tversky``
        1 - TP / (TP + alpha FP + (1 - alpha) FN) of each class, with TP = sum(t p), FP = sum((1 - t) p) and
        FN = sum(t (1 - p)) over all labels of the batch that are not ignored; alpha is 0.3 unless given. The mean over
        the classes that occur among these labels, weighted by `Problem.class_weights` (Salehi et al. 2017,
        doi:10.1007/978-3-319-67389-9_44).
    ``dice``
        The same with alpha 1/2 (Milletari et al. 2016, doi:10.1109/3DV.2016.79).
    ``dice_crossentropy``
        The sum of dice and the weighted cross-entropy (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
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
        self._name, self._amount = read_loss(problem.loss_name)
        self._is_own = is_reference(self._name)
        self._of_pixels = facts.pixel_values
        self._is_sparse = self._name.lower().startswith("sparse")
        self._function = None if self._name in LOSSES else _function(self._name)

    def call(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """Return the loss of a batch of class numbers ``(sample, …)`` and probabilities ``(sample, …, class)``.

        For regression both are values ``(sample, value)``, or ``(sample, …, 1)`` for pixels: those whose label is NaN
        are not counted.
        """
        if self._of_classes:
            labels = ops.cast(labels, "int32")
            counted = ops.not_equal(labels, -1 if self._ignore is None else self._ignore)
            known = ops.where(counted, labels, ops.zeros_like(labels))
            mask = ops.cast(counted, predictions.dtype)
            if self._function is None:
                row = ops.reshape(known, (-1,)), ops.reshape(mask, (-1,))
                return self._of_rows(*row, ops.reshape(predictions, (-1, self._outputs)))
            return self._of_function(labels, known, mask, predictions)
        labels = ops.reshape(ops.cast(labels, predictions.dtype), ops.shape(predictions))  # pixels have one value each
        if not self._is_own:
            mean, scale = ops.convert_to_tensor(self._mean), ops.convert_to_tensor(self._scale)
            labels, predictions = (labels - mean) / scale, (predictions - mean) / scale
        assert self._function is not None
        if self._is_own or not self._of_pixels:
            return ops.mean(self._function(labels, predictions))
        known = ops.logical_not(ops.isnan(labels))  # not of pixels without a measured value
        values = self._function(ops.where(known, labels, ops.zeros_like(labels)), predictions)
        mask = ops.cast(ops.all(known, axis=-1), values.dtype)
        return ops.sum(mask * values) / ops.maximum(ops.sum(mask), 1.0)

    def _of_rows(self, known: Tensor, mask: Tensor, predictions: Tensor) -> Tensor:
        """Return one of our own losses of labels ``(label,)``, of which the mask is 0 if they are ignored."""
        if self._name in _WITH_CROSSENTROPY:
            loss = self._mean_of(_crossentropy(known, predictions), known, mask)
            return loss + self._overlap(known, mask, predictions, 0.5) if self._name in _OF_OVERLAP else loss
        if self._name == "focal":
            truth = ops.one_hot(known, self._outputs, dtype=predictions.dtype)
            values = keras.losses.categorical_focal_crossentropy(truth, predictions, alpha=1.0, gamma=self._amount)
            return self._mean_of(values, known, mask)
        return self._overlap(known, mask, predictions, _OF_OVERLAP.get(self._name, self._amount))

    def _mean_of(self, values: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over labels that are not ignored, each weighted by its class."""
        weights = mask * ops.take(ops.cast(self._weights, values.dtype), known, axis=0)
        return ops.sum(weights * values) / ops.maximum(ops.sum(mask), 1.0)

    def _overlap(self, known: Tensor, mask: Tensor, predictions: Tensor, alpha: float) -> Tensor:
        """Return the Tversky loss; no smoothing is needed, because only classes that occur are counted."""
        shown = ops.expand_dims(mask, -1)
        truth = ops.one_hot(known, self._outputs, dtype=predictions.dtype) * shown
        labelled = ops.sum(truth, axis=0)
        # TP + alpha FP + (1 - alpha) FN, in which TP cancels
        size = alpha * ops.sum(predictions * shown, axis=0) + (1.0 - alpha) * labelled
        occurs = ops.cast(labelled > 0, predictions.dtype)
        overlap = ops.sum(truth * predictions, axis=0) / ops.where(labelled > 0, size, ops.ones_like(size))
        weights = occurs * ops.cast(self._weights, predictions.dtype)
        return ops.sum(weights * (1.0 - overlap)) / ops.maximum(ops.sum(weights), _LEAST)

    def _of_function(self, labels: Tensor, known: Tensor, mask: Tensor, predictions: Tensor) -> Tensor:
        """Return a loss of Keras or of the user's own."""
        assert self._function is not None
        truth = labels if self._is_own else known if self._is_sparse else ops.one_hot(known, self._outputs)
        values = self._function(truth, predictions)
        if len(values.shape) != len(labels.shape):
            if not self._is_own and not self._is_sparse:  # such as Keras's Dice: ignored labels are set to zero
                shown = ops.expand_dims(mask, -1)
                values = self._function(truth * shown, predictions * shown)
            return ops.mean(ops.cast(values, predictions.dtype))
        return self._mean_of(ops.cast(values, predictions.dtype), known, mask)


def loss_minimising_constant(problem: Problem, batches: Sequence[Array] = ()) -> NDArray[np.float32]:
    """Return the constant prediction that minimises the mean loss of batches of training labels.

    A network that has learnt nothing ends there. It is the label mean; for classes their frequencies times their
    weights, because a weighted loss pulls every network there. For the focal, Dice and Tversky losses it is found
    numerically. Without batches, the training split is taken as one.
    """
    if problem.task == "regression":
        return np.asarray(problem.facts.label_mean, dtype="float32")
    counts = _class_counts(problem, batches) if batches else np.asarray([problem.facts.class_counts], dtype="float64")
    shares = _shares(counts)
    likely = shares.mean(axis=0) * np.asarray(problem.class_weights())
    likely = likely / (likely.sum() or 1.0)
    if read_loss(problem.loss_name)[0] in LOSSES[1:]:

        def mean_loss(logits: Array) -> float:
            return float(_losses_of_constant(problem, shares, _softmax(logits)).mean())

        likely = _softmax(minimize(mean_loss, np.log(np.maximum(likely, _LEAST)), method="L-BFGS-B").x)
    return np.asarray(likely, dtype="float32")


def constant_losses(problem: Problem, loss: Loss, constant: Array, batches: Sequence[Array]) -> Array:
    """Return the loss of a constant prediction for each batch of labels.

    Of our own losses of classes it depends only on the number of labels of each class, so no large arrays are made.
    """
    if problem.task != "regression" and read_loss(problem.loss_name)[0] in LOSSES:
        return _losses_of_constant(problem, _shares(_class_counts(problem, batches)), constant)
    losses = []
    for labels in batches:
        shape = (*labels.shape, len(constant))
        if problem.task == "regression" and not problem.facts.pixel_values:
            shape = labels.shape
        predictions = ops.convert_to_tensor(np.broadcast_to(constant, shape).astype("float32"))
        losses.append(float(ops.convert_to_numpy(loss.call(ops.convert_to_tensor(np.asarray(labels)), predictions))))
    return np.asarray(losses)


def _class_counts(problem: Problem, batches: Sequence[Array]) -> Array:
    """Return the labels ``(batch, class)`` of each class that are not ignored."""
    rows = (np.ravel(labels).astype(np.int64) for labels in batches)
    known = (row if problem.ignore is None else row[row != problem.ignore] for row in rows)
    return np.array([np.bincount(row, minlength=problem.facts.outputs) for row in known], dtype="float64")


def _shares(counts: Array) -> Array:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _losses_of_constant(problem: Problem, shares: Array, constant: Array) -> Array:
    """Return one of our own losses for batches with these shares of the classes ``(batch, class)``."""
    name, amount = read_loss(problem.loss_name)
    likely = np.clip(np.asarray(constant, dtype="float64"), _LEAST, 1.0 - _LEAST)
    weights = np.asarray(problem.class_weights())
    losses = np.zeros(len(shares))
    if name in (*_WITH_CROSSENTROPY, "focal"):
        losses -= shares @ (weights * (1.0 - likely) ** (amount if name == "focal" else 0.0) * np.log(likely))
    if name not in (WEIGHTED_CROSSENTROPY, "focal"):
        alpha = _OF_OVERLAP.get(name, amount)
        overlap = shares * likely / (alpha * likely + (1.0 - alpha) * shares)
        of_classes = np.where(shares > 0, weights, 0.0)
        losses += (of_classes * (1.0 - overlap)).sum(axis=1) / np.maximum(of_classes.sum(axis=1), _LEAST)
    return losses


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def _crossentropy(labels: Tensor, predictions: Tensor) -> Tensor:
    """Return the cross-entropy of each label, which Keras is given in one row.

    For images PyTorch cannot go back through Keras's own form, where the classes come last.
    """
    row = ops.reshape(labels, (-1,)), ops.reshape(predictions, (-1, predictions.shape[-1]))
    return ops.reshape(keras.losses.sparse_categorical_crossentropy(*row), ops.shape(labels))


def _function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    try:
        found = resolve(name, "loss") if is_reference(name) else keras.losses.get(name)
        if found is keras.losses.sparse_categorical_crossentropy:
            return _crossentropy
    except ValueError as error:
        expected = f"{', '.join(LOSSES)}, a name of Keras or module:function"
        raise UserError(f"loss: expected {expected}, got {name!r}{nearest(name, LOSSES)}") from error
    if isinstance(found, type):
        found = found()
    # the bare function of a Keras loss gives a number for each label; called, the loss would average
    return found.call if isinstance(found, keras.losses.Loss) else found  # type: ignore[no-any-return]
