"""The loops that take optimiser steps, one for each way that pays. Runs in the training process.

Measured on small networks on the CPU: with TensorFlow a whole epoch in one graph is about three times faster than
`fit`, because the interpreter has no part in it; with JAX and PyTorch Keras's own compiled step is near the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask.adam import FusedAdam
from menndl_dask.augmentation import Augmentation
from menndl_dask.errors import UserError, nearest
from menndl_dask.feed import chunk_size, chunks
from menndl_dask.fusion import fuse
from menndl_dask.loss import Loss

Array = NDArray[Any]
_OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and name not in ("Optimizer", "LossScaleOptimizer")
}


class Loop(Protocol):
    """What trains a model on given samples."""

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples.

        Parameters
        ----------
        order
            Positions of training samples; the last batch may be smaller.
        deadline
            When to stop early, in seconds since 1970; the first step is taken in any case.

        Returns
        -------
        array
            The loss of each step taken; the last is not finite where the training has diverged, and ended with that.
        """

    def judge(self, images: Sequence[Array], labels: Array) -> tuple[Array, float]:
        """Return the predictions for a batch, and their loss."""


def make_loop(
    model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, images: Sequence[Array], labels: Array,
    batch_size: int, memory_bytes: float, augmentation: Augmentation | None = None, is_timed: bool = True,
) -> Loop:
    """Return the loop that suits the backend and the data, ready to run: its graphs are traced.

    Parameters
    ----------
    model, loss, optimizer
        What is trained, to minimise what, and how.
    images, labels
        The training split: memory-mapped arrays.
    batch_size
        Samples in a step.
    memory_bytes
        What the training split may take in memory.
    augmentation
        What changes the samples of each step.
    is_timed
        Whether there will be deadlines: where TensorFlow is to be deterministic its graphs cannot read the clock.
    """
    if keras.backend.backend() != "tensorflow":
        return BatchLoop(model, loss, optimizer, images, labels, batch_size, augmentation)
    size = sum(array.nbytes for array in (*images, labels))
    chunk = None if size <= memory_bytes else chunk_size(images, labels, batch_size, memory_bytes)
    return GraphLoop(model, loss, optimizer, images, labels, batch_size, augmentation, is_timed, chunk)


def make_optimizer(
    name: str, learning_rate: float, weight_decay: float, precision: str = "float32"
) -> keras.optimizers.Optimizer:
    """Return a Keras optimiser; the weight decay is Keras's, decoupled from the gradient.

    Gradients that are small become zero in float16, so there the loss is multiplied by a factor and the gradients are
    divided by it again. When one overflows, its step is left out and the factor is halved (Micikevicius et al. 2018,
    doi:10.48550/arXiv.1710.03740). The range of bfloat16 is that of float32.

    Raises
    ------
    UserError
        If there is no such optimiser.
    """
    if name.lower() not in _OPTIMIZERS:
        raise UserError(f"optimizer: expected a name of Keras, got {name!r}{nearest(name.lower(), _OPTIMIZERS)}")
    kind = _OPTIMIZERS[name.lower()]
    if name.lower() in ("adam", "adamw") and keras.backend.backend() == "tensorflow":
        kind, name = FusedAdam, "adam"  # which differ in the usual decay alone
    # AdamW has a decay of its own that must be set to zero; others take a zero for a decay, and warn or slow down
    decay = {"weight_decay": weight_decay} if weight_decay or name.lower() == "adamw" else {}
    optimizer = kind(learning_rate=learning_rate, **decay)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer


class GraphLoop:
    """TensorFlow: shuffled batches, steps and the watch on the loss in one graph.

    Parameters
    ----------
    model, loss, optimizer, images, labels, batch_size, augmentation
        As those of `make_loop`.
    is_timed
        Whether deadlines count; looking at a clock makes two trainings differ.
    chunk
        Samples that are in memory at a time; by default all.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, images: Sequence[Array],
        labels: Array, batch_size: int, augmentation: Augmentation | None = None, is_timed: bool = True,
        chunk: int | None = None,
    ) -> None:
        import tensorflow as tf

        self._model, self._loss, self._optimizer, self._batch_size = model, loss, optimizer, batch_size
        self._augmentation, self._is_timed = augmentation, is_timed
        optimizer.build(model.trainable_variables)
        fuse(model)
        self._images, self._labels, self._chunk = images, labels, chunk
        order, deadline = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float64)
        views = [tf.TensorSpec([None, *view.shape[1:]], tf.as_dtype(view.dtype)) for view in images]
        truth = tf.TensorSpec([None, *labels.shape[1:]], tf.as_dtype(labels.dtype))
        self._steps: Callable[..., Any] = tf.function(self._take_steps, autograph=False).get_concrete_function(
            order, deadline, views, truth
        )
        self._forward: Callable[..., Any] = tf.function(self._look, autograph=False).get_concrete_function(views, truth)
        # TensorFlow optimises a graph when it first runs: no part of a budget of seconds
        self._run(np.zeros(0), 0.0, self._tensors([view[:1] for view in images], labels[:1]))
        self._held = self._tensors(images, labels) if chunk is None else None

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples; see `Loop.run`."""
        if self._held is not None:
            return self._run(order, deadline, self._held)
        losses: list[Array] = []
        for chunk in chunks(self._images, self._labels, order, self._chunk or len(order)):
            losses.append(self._run(chunk.order, deadline, self._tensors(chunk.images, chunk.labels)))
            steps = -(-len(chunk.order) // self._batch_size)
            if len(losses[-1]) < steps or (self._is_timed and time.time() >= deadline):
                break
        return np.concatenate(losses)

    def judge(self, images: Sequence[Array], labels: Array) -> tuple[Array, float]:
        """Return the predictions for a batch, and their loss."""
        *views, truth = self._tensors(images, labels)
        predictions, loss = self._forward(views, truth)
        return np.asarray(predictions), float(loss)

    def _run(self, order: Array, deadline: float, samples: list[Any]) -> Array:
        import tensorflow as tf

        *views, truth = samples
        # as it was traced: arguments in another structure are taken too, but only after TensorFlow has written all
        # of them, numbers included, into the message of an error that nobody sees
        return np.asarray(self._steps(tf.constant(order, tf.int32), tf.constant(deadline, tf.float64), views, truth))

    @staticmethod
    def _tensors(images: Sequence[Array], labels: Array) -> list[Any]:
        import tensorflow as tf

        return [tf.constant(np.asarray(array)) for array in (*images, labels)]

    def _take_steps(self, order: Any, deadline: Any, images: list[Any], labels: Any) -> Any:
        import tensorflow as tf

        count = -(-tf.size(order) // self._batch_size)

        def goes_on(step: Any, last: Any, losses: Any) -> Any:
            going = (step < count) & tf.math.is_finite(last)
            return going & ((tf.timestamp() < deadline) | (step == 0)) if self._is_timed else going

        def take(step: Any, last: Any, losses: Any) -> Any:
            chosen = order[step * self._batch_size : (step + 1) * self._batch_size]
            loss = self._take_step([tf.gather(view, chosen) for view in images], tf.gather(labels, chosen))
            return step + 1, loss, losses.write(step, loss)

        losses = tf.TensorArray(tf.float32, count, element_shape=[])
        taken, _, losses = tf.while_loop(
            goes_on, take, (tf.constant(0), tf.constant(0.0), losses), parallel_iterations=1
        )
        return losses.stack()[:taken]

    def _take_step(self, images: list[Any], labels: Any) -> Any:
        import tensorflow as tf

        if self._augmentation is not None:
            images, labels = self._augmentation(images, labels)
        with tf.GradientTape() as tape:
            loss = self._loss.call(labels, self._model(_given(images), training=True))
            # the penalties of a user's own layers
            whole = loss + sum(tf.cast(penalty, loss.dtype) for penalty in self._model.losses)
            scaled = self._optimizer.scale_loss(whole)
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(scaled, variables), variables)
        return tf.cast(whole, tf.float32)

    def _look(self, images: list[Any], labels: Any) -> Any:
        predictions = self._model(_given(images), training=False)
        return predictions, self._loss.call(labels, predictions)


class BatchLoop:
    """Any backend: batches read from the memory maps, the next one during a step, and steps compiled by Keras."""

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, images: Sequence[Array],
        labels: Array, batch_size: int, augmentation: Augmentation | None = None,
    ) -> None:
        self._images, self._labels, self._batch_size = images, labels, batch_size
        self._loss = loss
        # a model of its own on the same weights: the given one stays uncompiled, and is saved without our loss
        self._model = keras.Model(_given(model.inputs), model.outputs[0])
        self._model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
        self._augmented = None if augmentation is None else _compiled(augmentation, model, labels)

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples; see `Loop.run`."""
        losses: list[float] = []
        for chunk in chunks(self._images, self._labels, order, self._batch_size):
            *views, labels = self._changed([*chunk.images, chunk.labels])
            self._model.reset_metrics()  # else Keras returns the mean since the start
            loss = self._model.train_on_batch(_given(views), labels)
            losses.append(float(loss))
            if not math.isfinite(losses[-1]) or time.time() >= deadline:
                break
        return np.asarray(losses, dtype="float32")

    def judge(self, images: Sequence[Array], labels: Array) -> tuple[Array, float]:
        """Return the predictions for a batch, and their loss."""
        predictions = self._model.predict_on_batch(_given([np.asarray(view) for view in images]))
        truth = keras.ops.convert_to_tensor(np.asarray(labels))
        loss = self._loss.call(truth, keras.ops.convert_to_tensor(predictions))
        return np.asarray(predictions), float(keras.ops.convert_to_numpy(loss))

    def _changed(self, batch: list[Array]) -> list[Array]:
        """Return views and labels of a batch, augmented if that is asked for."""
        return batch if self._augmented is None else self._augmented.predict_on_batch(batch)


def _compiled(augmentation: Augmentation, model: keras.Model, labels: Array) -> keras.Model:
    """Return the augmentation as a model of views and labels, which Keras compiles on every backend."""
    views = [keras.Input(view.shape[1:], dtype=view.dtype) for view in model.inputs]
    truth = keras.Input(labels.shape[1:], dtype=labels.dtype.name)
    changed, moved = augmentation(views, truth)
    return keras.Model([*views, truth], [*changed, moved])


def _given(views: Sequence[Any]) -> Any:
    """Return views as a decoded model takes them: a single one by itself."""
    return views if len(views) > 1 else views[0]
