"""Adam in one operation: the same as Keras's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from menndl_dask.training.optimizer import FusedAdam

IMAGES = np.random.default_rng(0).normal(size=(24, 6, 6, 1)).astype("float32")
LABELS = np.arange(24) % 3


def trained(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Return the weights of a small network after eight steps."""
    keras.utils.set_random_seed(3)
    # no bias before the normalisation: it has no gradient but noise, which Adam makes large
    layers = [keras.layers.Conv2D(4, 3, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), *layers, keras.layers.Dense(3)])
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step() -> None:
        with tf.GradientTape() as tape:
            answers = model(IMAGES, training=True)
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(LABELS, answers, from_logits=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    for _ in range(8):
        step()
    return model.get_weights()  # type: ignore[no-any-return]


@pytest.mark.parametrize("given", [{}, {"weight_decay": 0.1}, {"beta_1": 0.5, "beta_2": 0.9}, {"amsgrad": True}])
def test_the_weights_are_those_that_keras_comes_to(given: dict[str, Any]) -> None:
    ours, theirs = (trained(kind(0.01, **given)) for kind in (FusedAdam, keras.optimizers.Adam))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)


def test_an_update_is_one_operation_for_each_array() -> None:
    weights = [keras.Variable(np.ones((2, 3), "float32")), keras.Variable(np.ones(3, "float32"))]

    def operations(optimizer: keras.optimizers.Optimizer) -> int:
        optimizer.build(weights)
        gradients = [tf.ones(weight.shape) for weight in weights]
        traced = tf.function(lambda: optimizer.apply(gradients, weights), autograph=False).get_concrete_function()
        return len(traced.graph.get_operations())

    assert operations(FusedAdam(0.01)) < operations(keras.optimizers.Adam(0.01)) / 2


def test_a_scaled_loss_is_unscaled_before() -> None:
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer = keras.optimizers.LossScaleOptimizer(FusedAdam(0.1), initial_scale=8.0)
    optimizer.build([weight])
    optimizer.apply([optimizer.scale_loss(tf.ones(3))], [weight])
    np.testing.assert_allclose(weight.numpy(), 0.9, atol=1e-5)
