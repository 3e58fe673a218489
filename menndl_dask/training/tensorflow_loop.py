"""The training loop for TensorFlow: whole epochs in one graph. Runs in the training process.

On small networks on the CPU this is about three times faster than `fit`, because Python takes no part in a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import Array, Chunk, Source, as_model_input, chunks
from menndl_dask.training.loss import Loss


class GraphLoop:
    """Shuffled batches, steps and the check of the loss in one TensorFlow graph; see `menndl_dask.training.loop`.

    Deadlines are checked if `is_timed`: reading the clock makes two trainings differ. `chunk` is the number of samples
    that are read at a time; None for all, once.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, source: Source, batch_size: int,
        augmentation: Augmentation | None = None, is_timed: bool = True, chunk: int | None = None,
    ) -> None:
        self._model, self._loss, self._optimizer, self._batch_size = model, loss, optimizer, batch_size
        self._augmentation, self._is_timed = augmentation, is_timed
        optimizer.build(model.trainable_variables)
        self._source, self._chunk = source, chunk
        order, deadline = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float64)
        one = _tensors(source.read(source.order(0)[:1]))
        *views, truth = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in one]
        inputs = [tf.TensorSpec(view.shape, view.dtype) for view in model.inputs]
        steps, forward = (tf.function(each, autograph=False) for each in (self._take_steps, self._predict))
        self._steps: Callable[..., Any] = steps.get_concrete_function(order, deadline, views, truth)
        self._forward: Callable[..., Any] = forward.get_concrete_function(inputs)
        # TensorFlow optimises a graph in its first call, which must not count in a budget of seconds
        self._call_steps(np.zeros(0), 0.0, one)
        self._samples = _tensors(source.read(np.arange(len(source)))) if chunk is None else None

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples; see `menndl_dask.training.loop.Loop.run`."""
        if self._samples is not None:
            return self._call_steps(order, deadline, self._samples)
        losses: list[Array] = []
        for chunk in chunks(self._source, order, self._chunk or len(order)):
            losses.append(self._call_steps(chunk.order, deadline, _tensors(chunk)))
            steps = -(-len(chunk.order) // self._batch_size)
            if len(losses[-1]) < steps or (self._is_timed and time.monotonic() >= deadline):
                break
        return np.concatenate(losses)

    def predict(self, images: Sequence[Array]) -> Array:
        """Return the predictions for a batch."""
        return np.asarray(self._forward([tf.constant(view) for view in images]))

    def _call_steps(self, order: Array, deadline: float, samples: list[Any]) -> Array:
        *views, truth = samples
        # a graph has the wall clock only. Where that is set while it runs, it ends early and is called again, or ends
        # with the order
        deadline += time.time() - time.monotonic()
        # arguments in the structure that was traced: otherwise TensorFlow first formats all of them, with all their
        # numbers, into an error message that it then discards
        return np.asarray(self._steps(tf.constant(order, tf.int32), tf.constant(deadline, tf.float64), views, truth))

    def _take_steps(self, order: Any, deadline: Any, images: list[Any], labels: Any) -> Any:
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
        if self._augmentation is not None:
            images, labels = self._augmentation(images, labels)
        with tf.GradientTape() as tape:
            loss = self._loss.call(labels, self._model(as_model_input(images), training=True))
            # with the penalties of a user's own layers
            total = loss + sum(tf.cast(penalty, loss.dtype) for penalty in self._model.losses)
            scaled = self._optimizer.scale_loss(total)
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(scaled, variables), variables)
        return tf.cast(total, tf.float32)

    def _predict(self, images: list[Any]) -> Any:
        return self._model(as_model_input(images), training=False)


def _tensors(chunk: Chunk) -> list[Any]:
    return [tf.constant(array) for array in (*chunk.images, chunk.labels)]
