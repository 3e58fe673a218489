"""The training loop for JAX: many steps in one compiled loop. Runs in the training process.

Keras's own step goes through Python for each batch: it copies the batch to the device, collects the state and gives it
back. Here samples stay on the device, and a loop of XLA (`jax.lax.while_loop`) takes the steps. The number of steps is
one of its arguments, so that it is compiled once, whatever the schedule asks for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import Array, Chunk, Source, as_model_input, chunks
from menndl_dask.training.loss import Loss

State = Any  # values of the network's weights, its other variables, and those of optimiser and augmentation
_PIECE_S = 1.0  # seconds of steps between two looks at the clock, which a compiled loop cannot read


class ScanLoop:
    """Batches, steps and the check of the loss in one compiled loop; see `menndl_dask.training.loop`.

    `chunk` is the number of samples that are read at a time; None for all, once. A chunk that has fewer is filled up,
    and the last, smaller batch of an epoch is compiled by itself: shapes are fixed in what JAX compiles.
    """

    def __init__(
        self, model: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, source: Source, batch_size: int,
        augmentation: Augmentation | None = None, chunk: int | None = None,
    ) -> None:
        self._model, self._loss, self._optimizer, self._source = model, loss, optimizer, source
        self._batch_size, self._chunk = batch_size, chunk
        self._size = len(source) if chunk is None else min(chunk, max(batch_size, len(source)))
        optimizer.build(model.trainable_variables)
        one = source.read(source.order(0)[:1])
        self._augmentation = None if augmentation is None else augmentation.as_model([*one.images, one.labels])
        others = [] if self._augmentation is None else self._augmentation.non_trainable_variables
        self._variables = [
            model.trainable_variables, model.non_trainable_variables, optimizer.variables, others,
        ]  # fmt: skip
        self._steps = jax.jit(self._take_steps, donate_argnums=0)
        self._forward = jax.jit(self._predict)
        self._step_s = math.inf  # measured
        self._samples = self._on_device(source.read(np.arange(len(source)))) if chunk is None else None
        # compiled here, so that it does not count in a budget of seconds
        shown = self._samples or self._on_device(one)
        for size in dict.fromkeys((batch_size, len(source) % batch_size)):
            if 0 < size <= len(source):
                self._call(shown, np.zeros((self._rows(size), size), np.int32), 0)

    def run(self, order: Array, deadline: float) -> Array:
        """Take a step for each batch of an order of samples; see `menndl_dask.training.loop.Loop.run`."""
        if self._samples is not None:
            return self._run(self._samples, order, deadline)
        losses: list[Array] = []
        for chunk in chunks(self._source, order, self._size):
            losses.append(self._run(self._on_device(chunk), chunk.order, deadline))
            steps = -(-len(chunk.order) // self._batch_size)
            if len(losses[-1]) < steps or not math.isfinite(losses[-1][-1]) or time.monotonic() >= deadline:
                break
        return np.concatenate(losses)

    def predict(self, images: Sequence[Array]) -> Array:
        """Return the predictions for a batch."""
        values = [variable.value for variable in self._model.trainable_variables]
        others = [variable.value for variable in self._model.non_trainable_variables]
        return np.asarray(self._forward(values, others, [np.asarray(view) for view in images]))

    def _run(self, samples: list[Any], order: Array, deadline: float) -> Array:
        """Take the steps of an order of positions in the samples: whole batches, then the rest."""
        whole = len(order) // self._batch_size
        batches = np.zeros((self._rows(self._batch_size), self._batch_size), np.int32)
        batches[:whole] = order[: whole * self._batch_size].reshape(whole, self._batch_size)
        losses = [np.zeros(0, np.float32)]
        done = 0
        while done < whole:
            room = min(_PIECE_S, deadline - time.monotonic())
            count = max(1, min(whole - done, int(room / self._step_s)))
            began = time.monotonic()
            losses.append(self._call(samples, np.roll(batches, -done, axis=0), count))
            self._step_s = max(1e-6, (time.monotonic() - began) / count)
            done += count
            if len(losses[-1]) < count or not math.isfinite(losses[-1][-1]) or time.monotonic() >= deadline:
                return np.concatenate(losses)
        rest = order[whole * self._batch_size :]
        if len(rest):
            losses.append(self._call(samples, np.asarray(rest, np.int32)[None], 1))
        return np.concatenate(losses)

    def _rows(self, size: int) -> int:
        """Return how many batches of a size the compiled loop has room for."""
        return max(1, -(-self._size // size)) if size == self._batch_size else 1

    def _call(self, samples: list[Any], batches: Array, count: int) -> Array:
        state = [[variable.value for variable in group] for group in self._variables]
        state, losses, taken = self._steps(state, samples, batches, count)
        for group, values in zip(self._variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return np.asarray(losses)[: int(taken)]

    def _take_steps(self, state: State, samples: list[Any], batches: Any, count: Any) -> tuple[State, Any, Any]:
        def goes_on(carried: Any) -> Any:
            step, last, _, _ = carried
            return (step < count) & jnp.isfinite(last)

        def take(carried: Any) -> Any:
            step, _, state, losses = carried
            chosen = batches[step]
            *views, labels = [jnp.take(array, chosen, axis=0) for array in samples]
            loss, state = self._take_step(state, views, labels)
            return step + 1, loss, state, losses.at[step].set(loss)

        begin = jnp.int32(0), jnp.float32(0), state, jnp.zeros(len(batches), jnp.float32)
        taken, _, state, losses = jax.lax.while_loop(goes_on, take, begin)
        return state, losses, taken

    def _take_step(self, state: State, views: list[Any], labels: Any) -> tuple[Any, State]:
        weights, others, moments, drawn = state
        if self._augmentation is not None:
            (*views, labels), drawn = self._augmentation.stateless_call([], drawn, [*views, labels])

        def scaled_loss(weights: Any) -> tuple[Any, tuple[Any, Any]]:
            predicted, changed, penalties = self._model.stateless_call(
                weights, others, as_model_input(views), training=True, return_losses=True
            )
            loss = self._loss.call(labels, predicted)
            # with the penalties of a user's own layers
            total = loss + sum(jnp.asarray(penalty, loss.dtype) for penalty in penalties)
            with keras.StatelessScope(list(zip(self._optimizer.variables, moments, strict=True))):
                scaled = self._optimizer.scale_loss(total)
            return scaled, (total, changed)

        (_, (total, others)), gradients = jax.value_and_grad(scaled_loss, has_aux=True)(weights)
        weights, moments = self._optimizer.stateless_apply(moments, gradients, weights)
        return total.astype(jnp.float32), [weights, others, moments, drawn]

    def _predict(self, weights: Any, others: Any, images: list[Any]) -> Any:
        return self._model.stateless_call(weights, others, as_model_input(images), training=False)[0]

    def _on_device(self, chunk: Chunk) -> list[Any]:
        """Return samples on the device, as many as a chunk has when it is full."""
        arrays = (*chunk.images, chunk.labels)
        missing = self._size - len(chunk.labels)
        return [jnp.asarray(np.pad(a, [(0, missing), *[(0, 0)] * (a.ndim - 1)]) if missing else a) for a in arrays]
