"""Augmentation: training images changed at random, the labels of their pixels alike. Runs in the training process.

It uses only Keras's operations, so that it is part of the graph on every backend. Flips, rotations and shifts are
combined into one map of positions for each sample, by which every view and the labels are gathered. So views and
labels stay aligned, and three operations cost as much as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from menndl_dask.change import Change
from menndl_dask.errors import UserError
from menndl_dask.problem import Problem
from menndl_dask.training.user_function import resolve

Tensor = Any  # of the Keras backend
_MOVES = ("flip", "rotate", "shift")
_AXES = "zyx"


class Augmentation(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Changes a batch of training samples as the problem's `augmentation` says.

    Pixels are moved first, then noise and the user's own layers follow in their order. Each sample is changed in its
    own way; all views of a sample, and with segmentation its labels, are moved alike. Raises `UserError` if there is no
    such layer of the user's own.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        # labels are integers that must not be cast, and images keep their precision
        super().__init__(name="augmentation", dtype="float32", autocast=False, trainable=False)
        facts = problem.facts
        self._moves = {change.name: change for change in problem.changes() if change.name in _MOVES}
        self._others = [change for change in problem.changes() if change.name not in _MOVES]
        self._shapes = facts.input_shapes
        self._stds = [np.sqrt(np.asarray(variance, dtype="float32")) for variance in facts.variance]
        self._labels_move = problem.task == "segmentation"
        self._random = keras.random.SeedGenerator(seed)
        # one for each view, whose number of channels may differ
        self._own = [_own_layers(self._others, shape) for shape in self._shapes]

    def call(self, images: Sequence[Tensor], labels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the views and the labels of a batch, changed."""
        views = list(images)
        if self._moves:
            drawn = _draw(ops.shape(labels)[0], self._random)
            if self._labels_move:
                labels = _gathered(labels, self._positions(drawn, self._shapes[0][:-1]))
            views = [
                _gathered(view, self._positions(drawn, shape[:-1]))
                for view, shape in zip(views, self._shapes, strict=True)
            ]
        return [self._changed(view, number) for number, view in enumerate(views)], labels

    def _positions(self, drawn: Mapping[str, Tensor], sizes: Sequence[int]) -> Tensor:
        """Return for each pixel of each sample where it comes from: its place in the flattened batch."""
        axes = _AXES[-len(sizes) :]
        places = {axis: self._places(drawn, axis, size) for axis, size in zip(axes, sizes, strict=True)}
        grid = {axis: _spread(places[axis], number, len(axes)) for number, axis in enumerate(axes)}
        if "rotate" in self._moves:
            is_turned = _spread(drawn["rotate"] % 2 == 1, None, len(axes))
            y, x = len(axes) - 2, len(axes) - 1
            # a turn by 90° reads rows where there were columns; which way round is in the places
            grid["y"] = ops.where(is_turned, _spread(places["y"], x, len(axes)), grid["y"])
            grid["x"] = ops.where(is_turned, _spread(places["x"], y, len(axes)), grid["x"])
        position = _spread(ops.arange(ops.shape(drawn["rotate"])[0], dtype="int32"), None, len(axes))
        for axis, size in zip(axes, sizes, strict=True):
            position = position * size + grid[axis]
        return position

    def _places(self, drawn: Mapping[str, Tensor], axis: str, size: int) -> Tensor:
        """Return for each sample where each place along an axis comes from."""
        places = ops.arange(size, dtype="int32")[None, :]
        if "shift" in self._moves:
            offset = ops.cast(ops.round(self._moves["shift"].amount * size * drawn[f"shift {axis}"]), "int32")
            places = (places + offset[:, None]) % (2 * size)
            places = ops.where(places < size, places, 2 * size - 1 - places)  # mirrored at the edge
        if "flip" in self._moves and axis in self._moves["flip"].axes:
            places = ops.where(drawn[f"flip {axis}"][:, None], size - 1 - places, places)
        if "rotate" in self._moves and axis in "yx":
            quarter = drawn["rotate"]
            is_flipped = ops.logical_or(quarter == 2, quarter == (3 if axis == "y" else 1))
            places = ops.where(is_flipped[:, None], size - 1 - places, places)
        return places

    def _changed(self, view: Tensor, number: int) -> Tensor:
        """Return a view with noise, and as the user's own layers leave it."""
        own = iter(self._own[number])
        for change in self._others:
            if change.name == "noise":
                std = ops.convert_to_tensor(change.amount * self._stds[number])
                view = view + std * keras.random.normal(ops.shape(view), seed=self._random)
            else:
                view = ops.cast(next(own)(view, training=True), "float32")
        return view


def _draw(count: Tensor, seeds: keras.random.SeedGenerator) -> dict[str, Tensor]:
    """Draw what happens to each sample: whether it is flipped, shifts from -1 to 1, quarters of a turn."""
    uniform = keras.random.uniform((count, 2 * len(_AXES) + 1), seed=seeds)
    flips = {f"flip {axis}": uniform[:, number] < 0.5 for number, axis in enumerate(_AXES)}
    shifts = {f"shift {axis}": 2.0 * uniform[:, number] - 1.0 for number, axis in enumerate(_AXES, len(_AXES))}
    return {**flips, **shifts, "rotate": ops.cast(ops.floor(4.0 * uniform[:, -1]), "int32")}


def _spread(values: Tensor, axis: int | None, rank: int) -> Tensor:
    """Return values of each sample, and of each place along one axis, so that they broadcast over a batch."""
    middle = [1] * rank
    if axis is not None:
        middle[axis] = values.shape[-1]
    return ops.reshape(values, (-1, *middle))


def _gathered(values: Tensor, positions: Tensor) -> Tensor:
    """Return images ``(sample, spatial…, channel)`` or labels ``(sample, spatial…)``, pixels taken from elsewhere."""
    shape = tuple(values.shape[1:])
    channels = shape[len(positions.shape) - 1 :]
    taken = ops.take(ops.reshape(values, (-1, *channels)), positions, axis=0)
    return ops.reshape(taken, (-1, *shape))


def _own_layers(changes: Sequence[Change], shape: tuple[int, ...]) -> list[keras.layers.Layer]:
    """Return the layers of the user's own, built for a view, so that no graph has to create their variables."""
    layers = []
    for change in changes:
        if ":" in change.name:
            made = resolve(change.name, "augmentation")
            layer = made() if callable(made) and not isinstance(made, keras.layers.Layer) else made
            if not isinstance(layer, keras.layers.Layer):
                raise UserError(f"augmentation: {change.name}: expected a layer of Keras, got {type(layer).__name__}")
            if not layer.built:
                layer.build((None, *shape))
            layers.append(layer)
    return layers
