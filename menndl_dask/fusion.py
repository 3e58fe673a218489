"""Layers of images in fewer operations than Keras's own, with TensorFlow. Runs in the training process.

Keras writes a batch normalisation as some forty operations, forward and backward, an upsampling as sixty. Each takes
about a millisecond to trace and to be made ready for a first step: in short trainings more than many a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

_IMAGES = 4  # axes of a batch of them
_LAST = (-1, _IMAGES - 1)


def fuse(model: keras.Model) -> None:
    """Have layers of 2-D images in a model computed in fewer operations.

    They compute the same but for rounding. The layers stay Keras's own, and so does what is saved of them.
    """
    for layer in model.layers:
        call = _FUSED.get(type(layer))
        if call is not None and _is_plain(layer):
            layer.call = partial(call, layer)


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Return whether a layer does nothing that its fused form does not."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.scale and layer.center and layer.axis in _LAST)
    if isinstance(layer, keras.layers.UpSampling2D):
        return bool(layer.interpolation == "nearest" and layer.data_format == "channels_last")
    return bool(layer.use_bias and layer.data_format == "channels_last")


def _normalised(
    layer: keras.layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    if mask is not None or len(inputs.shape) != _IMAGES:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    given = tf.cast(inputs, tf.float32)  # where the rest computes with 16 bits
    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    is_training = bool(training and layer.trainable)
    normalised, *now, _, _, _ = tf.raw_ops.FusedBatchNormV3(
        x=given, scale=tf.cast(layer.gamma.value, tf.float32), offset=tf.cast(layer.beta.value, tf.float32),
        mean=[] if is_training else mean, variance=[] if is_training else variance, epsilon=layer.epsilon,
        is_training=is_training,
    )  # fmt: skip
    if is_training:
        # the operation divides the squares by one less than there are, Keras by as many
        now[1] *= 1.0 - given.shape[-1] / tf.cast(tf.size(given), tf.float32)
        for moving, seen in zip((mean, variance), now, strict=True):
            moving.assign_sub((moving - seen) * (1.0 - layer.momentum), read_value=False)
    return tf.cast(normalised, layer.compute_dtype)


def _convolved(layer: keras.layers.Conv2D, inputs: Any) -> Any:
    import tensorflow as tf

    convolved = layer.convolution_op(inputs, layer.kernel)
    biased = tf.nn.bias_add(convolved, tf.cast(layer.bias.value, convolved.dtype))
    return biased if layer.activation is None else layer.activation(biased)


def _enlarged(layer: keras.layers.UpSampling2D, inputs: Any) -> Any:
    import tensorflow as tf

    height, width, channels = inputs.shape[1:]
    if None in (height, width):
        return type(layer).call(layer, inputs)
    rows, columns = layer.size
    pixels = tf.reshape(inputs, (-1, height, 1, width, 1, channels))
    return tf.reshape(tf.tile(pixels, (1, 1, rows, 1, columns, 1)), (-1, height * rows, width * columns, channels))


_FUSED: dict[type, Callable[..., Any]] = {
    keras.layers.BatchNormalization: _normalised,
    keras.layers.Conv2D: _convolved,
    keras.layers.UpSampling2D: _enlarged,
}
