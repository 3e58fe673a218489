"""Layers in fewer operations: the same as Keras's own, which are what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from menndl_dask.fusion import fuse

IMAGES = np.random.default_rng(0).normal(2.0, 3.0, size=(5, 6, 7, 3)).astype("float32")


def _model(shape: tuple[int, ...], activation: str = "linear", **given: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    rank = len(shape) - 1
    convolution, enlarging = (getattr(keras.layers, f"{stem}{rank}D") for stem in ("Conv", "UpSampling"))
    normalisation = keras.layers.BatchNormalization(momentum=0.9, **given)
    sizes = {"size": (2, 3)} if rank == 2 else {}
    layers = [convolution(4, 3, activation=activation), normalisation, enlarging(**sizes)]
    return keras.Sequential([keras.Input(shape), *layers])


def _looked_at(model: keras.Model, images: np.ndarray) -> list[Any]:
    """Return the answers of training and of use, the gradients, and the weights after that."""
    with tf.GradientTape() as tape:
        answers = tf.cast(model(images, training=True), "float32")
        loss = tf.reduce_mean(answers**3)
    gradients = tape.gradient(loss, model.trainable_variables)
    return [answers, *gradients, model(images, training=False), *model.get_weights()]


@pytest.mark.parametrize(
    ("given", "images"),
    [({}, IMAGES), ({}, IMAGES[:, 0]), ({"scale": False}, IMAGES), ({"trainable": False}, IMAGES),
     ({"activation": "gelu"}, IMAGES)],
)
def test_it_computes_what_keras_does(given: dict[str, Any], images: np.ndarray) -> None:
    theirs, ours = (_model(images.shape[1:], **given) for _ in range(2))
    fuse(ours)
    for mine, other in zip(_looked_at(ours, images), _looked_at(theirs, images), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_it_computes_in_float32_between_layers_of_16_bits() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        theirs, ours = (_model(IMAGES.shape[1:]) for _ in range(2))
    finally:
        keras.config.set_dtype_policy("float32")
    fuse(ours)
    assert ours(IMAGES).dtype == tf.bfloat16
    for mine, other in zip(_looked_at(ours, IMAGES), _looked_at(theirs, IMAGES), strict=True):
        np.testing.assert_allclose(mine, other, atol=0.05)


def test_a_training_step_has_far_fewer_operations() -> None:
    def operations(model: keras.Model) -> int:
        traced = tf.function(lambda: _gradients(model), autograph=False).get_concrete_function()
        return len(traced.graph.get_operations())

    theirs, ours = (_model(IMAGES.shape[1:]) for _ in range(2))
    fuse(ours)
    assert operations(ours) < 0.5 * operations(theirs)


def _gradients(model: keras.Model) -> list[Any]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(tf.constant(IMAGES), training=True))
    return tape.gradient(loss, model.trainable_variables)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras with numpy 2
def test_what_is_saved_is_kerass_own_layer(tmp_path: Path) -> None:
    model = _model(IMAGES.shape[1:])
    fuse(model)
    model(IMAGES, training=True)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    kinds = [keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.UpSampling2D]
    assert [type(layer) for layer in loaded.layers] == kinds
    np.testing.assert_allclose(loaded(IMAGES).numpy(), model(IMAGES).numpy(), atol=1e-6)
