"""Losses and metrics as a user might bring them; training processes import them."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np


def absolute_error(labels: Any, predictions: Any) -> Any:
    """Return the absolute error of each sample, in the user's unit."""
    return keras.ops.mean(keras.ops.abs(labels - predictions), axis=-1)


def hedged_crossentropy(labels: Any, predictions: Any) -> Any:
    """Return a cross-entropy of each label that is not ignored, as a number for the batch."""
    known = keras.ops.where(labels == 255, keras.ops.zeros_like(labels), labels)
    values = keras.losses.sparse_categorical_crossentropy(known, predictions)
    return keras.ops.mean(values * keras.ops.cast(labels != 255, "float32"))


def raising(labels: Any, predictions: Any) -> Any:
    """Fail."""
    raise ZeroDivisionError("one over nothing")


def share_right(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the accuracy over the whole split."""
    return float(np.mean(predictions.argmax(-1) == labels))


def share_right_of_images(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the accuracy over images, which must be whole."""
    assert min(labels.shape[1:]) >= 40, labels.shape
    return share_right(labels, predictions)


class LargestError(keras.metrics.Metric):
    """The largest absolute error; smaller is better."""

    def __init__(self) -> None:
        super().__init__(name="largest_error")
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, labels: Any, predictions: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        error = keras.ops.max(keras.ops.abs(keras.ops.convert_to_tensor(labels) - predictions))
        self.largest.assign(keras.ops.maximum(self.largest, error))

    def result(self) -> Any:
        """Return the largest error so far."""
        return self.largest


class Brighter(keras.layers.Layer):
    """An augmentation: twice as bright, in training only."""

    def call(self, images: Any, training: bool = False) -> Any:
        """Return brighter images."""
        return 2.0 * images if training else images


class Blinding(keras.layers.Layer):
    """An augmentation with which 16 bits of float16 do not reach."""

    def call(self, images: Any) -> Any:
        """Return images that are far too bright."""
        return 1e6 * images


def telling(labels: Any, predictions: Any) -> Any:
    """Fail, and tell where."""
    raise RuntimeError(f"the backend is {keras.backend.backend()}")


def listing(labels: Any, predictions: Any) -> Any:
    """Fail, and tell what of that which a training does not need is loaded."""
    raise RuntimeError(f"loaded: {sorted({'matplotlib', 'pandas', 'sklearn'}.intersection(sys.modules))}")
