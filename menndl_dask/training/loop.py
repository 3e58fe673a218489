"""The training loop: optimiser steps and predictions, in the backend's fastest way. Runs in the training process.

With TensorFlow whole epochs are one graph (`menndl_dask.training.tensorflow_loop`), with JAX on a GPU many
steps are one compiled loop (`menndl_dask.training.jax_loop`). The others take Keras's own steps, one by one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Protocol

import keras
import numpy as np

from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import Array, Source, as_model_input, chunks
from menndl_dask.training.loss import Loss


class Loop(Protocol):
    """Trains a model on the samples of a source."""

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples (their numbers); return the loss of each step taken.

        Steps end at the deadline, on the monotonic clock, but the first one is always taken. If the training diverged,
        the last loss is not finite.
        """

    def predict(self, images: Sequence[Array]) -> Array:
        """Return the predictions for a batch."""


def make_loop(
    model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, source: Source, batch_size: int,
    memory_bytes: float, augmentation: Augmentation | None = None, is_timed: bool = True,
) -> Loop:
    """Return the loop for the current backend, ready to train on the samples of a source.

    Samples that take more than `memory_bytes` are read in chunks. `is_timed` says whether there will be deadlines: a
    deterministic TensorFlow graph cannot read the clock.
    """
    backend, chunk = keras.backend.backend(), source.chunk_size(batch_size, memory_bytes)
    if backend == "torch" or (backend == "jax" and _is_jax_on_cpu()):
        return BatchLoop(model, loss, optimizer, source, batch_size, augmentation)
    if backend == "jax":
        from menndl_dask.training.jax_loop import ScanLoop

        return ScanLoop(model, loss, optimizer, source, batch_size, augmentation, chunk)
    from menndl_dask.training.tensorflow_loop import GraphLoop

    return GraphLoop(model, loss, optimizer, source, batch_size, augmentation, is_timed, chunk)


def _is_jax_on_cpu() -> bool:
    """Return whether JAX computes on the CPU, where XLA's convolutions are three times slower within a loop."""
    import jax

    return bool(jax.default_backend() == "cpu")


class BatchLoop:
    """Any backend: steps compiled by Keras; the next batch is read from disk during a step."""

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, source: Source, batch_size: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._source, self._batch_size = source, batch_size
        # a second model with the same weights: the given one stays uncompiled, and is saved without our loss
        self._model = keras.Model(as_model_input(model.inputs), model.outputs[0])
        self._model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
        self._augmentation = None
        if augmentation is not None:  # as a model, which Keras compiles on every backend
            one = source.read(source.order(0)[:1])
            self._augmentation = augmentation.as_model([*one.images, one.labels])

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples; see `Loop.run`."""
        losses: list[float] = []
        for chunk in chunks(self._source, order, self._batch_size):
            *views, labels = [*chunk.images, chunk.labels]
            if self._augmentation is not None:
                *views, labels = self._augmentation.predict_on_batch([*views, labels])
            self._model.reset_metrics()  # else Keras returns the mean since the start
            loss = self._model.train_on_batch(as_model_input(views), labels)
            losses.append(float(loss))
            if not math.isfinite(losses[-1]) or time.monotonic() >= deadline:
                break
        return np.asarray(losses, dtype="float32")

    def predict(self, images: Sequence[Array]) -> Array:
        """Return the predictions for a batch."""
        return np.asarray(self._model.predict_on_batch(as_model_input([np.asarray(view) for view in images])))
