"""Augmentation: training images changed at random, the labels of their pixels alike. Runs in the training process.

It uses only Keras's operations, so that it is part of the graph on every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from menndl_dask.change import MOVES, Change, fine_axes
from menndl_dask.errors import UserError
from menndl_dask.problem import Problem
from menndl_dask.training.changes.moves import Moves
from menndl_dask.training.changes.values import DRAWS, changed
from menndl_dask.training.user_function import resolve

Tensor = Any  # of the Keras backend
Array = NDArray[Any]


class Augmentation(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """Changes a batch of training samples as the problem's `augmentation` says.

    Pixels are moved first, then changes of values and the user's own layers follow in their order. Each sample is
    changed in its own way; all views of a sample, and with segmentation its labels, are moved alike. Raises `UserError`
    if there is no such layer of the user's own.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        # labels are integers that must not be cast, and images keep their precision
        super().__init__(name="augmentation", dtype="float32", autocast=False, trainable=False)
        facts = problem.facts
        changes = problem.changes()
        self._sizes = [shape[:-1] for shape in facts.input_shapes]
        self._fine = fine_axes(problem.rank, facts.spacing)
        self._moves = Moves(changes, self._sizes[0], facts.spacing)
        self._margin = self._moves.margin() if problem.patches is not None else (0,) * problem.rank
        self._others = [change for change in changes if change.name not in MOVES]
        self._means = [np.asarray(mean, dtype="float32") for mean in facts.mean]
        self._stds = [np.sqrt(np.asarray(variance, dtype="float64")) for variance in facts.variance]
        self._labels_move = problem.by_pixel
        self._random = keras.random.SeedGenerator(seed)
        # one for each view, whose number of channels may differ
        self._own = [_own_layers(self._others, shape) for shape in facts.input_shapes]

    def as_model(self, sample: Sequence[Array]) -> keras.Model:
        """Return a model of views and labels, whose state can be given to it; `sample` shows their shapes."""
        *views, truth = [keras.Input(array.shape[1:], dtype=array.dtype.name) for array in sample]
        changed, moved = self(views, truth)
        return keras.Model([*views, truth], [*changed, moved])

    @property
    def margin(self) -> tuple[int, ...]:
        """Pixels at each side of a patch, along each axis, by which views and labels are larger before the moves.

        So no corner of a turned patch is empty. It is 0 without patches: moves then mirror the image at its edge.
        """
        return self._margin

    def call(self, images: Sequence[Tensor], labels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the views and the labels of a batch, changed, without their margin."""
        views = [ops.cast(view, "float32") for view in images]
        count = ops.shape(labels)[0]
        if self._moves:
            drawn = self._moves.draw(count, self._random)
            given = [tuple(view.shape[1:-1]) for view in views]
            places = {
                key: self._moves.positions(drawn, *key) for key in dict.fromkeys(zip(self._sizes, given, strict=True))
            }
            if self._labels_move:  # their size is the first view's
                labels = self._moves.nearest(labels, places[self._sizes[0], given[0]])
            views = [
                self._moves.between(view, places[key])
                for view, key in zip(views, zip(self._sizes, given, strict=True), strict=True)
            ]
        own = [iter(layers) for layers in self._own]
        for change in self._others:
            if ":" in change.name:
                views = [
                    ops.cast(next(layers)(view, training=True), "float32")
                    for layers, view in zip(own, views, strict=True)
                ]
                continue
            numbers = keras.random.uniform((count, DRAWS), seed=self._random)
            views = [
                changed(view, change, numbers, mean, std, self._fine, self._random)
                for view, mean, std in zip(views, self._means, self._stds, strict=True)
            ]
        return views, labels


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
