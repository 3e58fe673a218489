"""Batch normalisation of images as one operation, with TensorFlow. Runs in the training process.

Keras writes it as some forty operations, forward and backward. A network with many of them takes a third longer to
trace, and to be made ready for its first step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

_IMAGES = 4  # axes of a batch of them
_LAST = (-1, _IMAGES - 1)


def fuse(model: keras.Model) -> None:
    """Have the batch normalisation of 2-D images in a model computed by one operation while it trains.

    It computes the same but for rounding. The layers stay Keras's own, and so does what is saved of them.
    """
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization and layer.scale and layer.center and layer.axis in _LAST:
            layer.call = partial(_normalised, layer)


def _normalised(
    layer: keras.layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    if not training or not layer.trainable or mask is not None or len(inputs.shape) != _IMAGES:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    given = tf.cast(inputs, tf.float32)  # where the rest computes with 16 bits
    scale, offset = (tf.cast(variable.value, tf.float32) for variable in (layer.gamma, layer.beta))
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=given, scale=scale, offset=offset, mean=[], variance=[], epsilon=layer.epsilon, is_training=True
    )
    count = tf.cast(tf.size(given) // given.shape[-1], tf.float32)
    # the operation divides the squares by one less than there are, Keras by as many
    moments = (layer.moving_mean, mean), (layer.moving_variance, variance * ((count - 1.0) / count))
    for moving, now in moments:
        moving.assign(moving.value * layer.momentum + now * (1.0 - layer.momentum))
    return tf.cast(normalised, layer.compute_dtype)
