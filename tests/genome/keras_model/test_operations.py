"""Operations in a model's graph: each is a gene, or refused by its name and setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Activation, Convolution
from tests.built_again import assert_same

activations, layers, ops = keras.activations, keras.layers, keras.ops


def _model(operation: Callable[[Any, Any], Any]) -> keras.Model:
    """Return a model that applies an operation to two images of 8 channels."""
    image = keras.Input((8, 10, 3))
    one, other = (layers.Conv2D(8, size, padding="same")(image) for size in (1, 3))
    tensor = operation(one, other)
    if len(tensor.shape) == 4:
        tensor = layers.GlobalMaxPooling2D()(tensor)
    return keras.Model(image, layers.Dense(3, activation="softmax")(tensor))


_KEPT: dict[str, Callable[[Any, Any], Any]] = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x + x": lambda x, y: x + x,
    "x * x": lambda x, y: x * x + y,
    "square": lambda x, y: ops.square(x),
    "x + 1": lambda x, y: x + 1.0,
    "1 - x": lambda x, y: 1.0 - x,
    "-x": lambda x, y: -x,
    "x / 2": lambda x, y: x / 2,
    "x * numbers": lambda x, y: x * np.arange(1, 9, dtype="float32"),
    "maximum": ops.maximum,
    "maximum of 0": lambda x, y: ops.maximum(x, 0),
    "minimum": ops.minimum,
    "concatenate": lambda x, y: layers.Conv2D(4, 1)(ops.concatenate([y, x], -1)),
    "relu": lambda x, y: ops.relu(x),
    "activations.relu": lambda x, y: activations.relu(x, max_value=1.0, negative_slope=0.1),
    "leaky_relu": lambda x, y: activations.leaky_relu(x, 0.05),
    "elu": lambda x, y: activations.elu(x, 0.5),
    "celu": lambda x, y: ops.celu(x, 0.5),
    "gelu": lambda x, y: activations.gelu(x),
    "gelu, approximate": lambda x, y: ops.gelu(x),
    "softmax": lambda x, y: ops.softmax(x),
    "hard_silu": lambda x, y: ops.hard_silu(x),
    "tanh": lambda x, y: ops.tanh(x),
    "exp": lambda x, y: ops.exp(x * 0.1),
    "clip": lambda x, y: ops.clip(x, 0, 1),
    "mean": lambda x, y: ops.mean(x, (1, 2)),
    "mean, keepdims": lambda x, y: y * ops.mean(x, (-2, -3), keepdims=True),
    "max": lambda x, y: ops.max(x, (1, 2)),
    "mean over channels": lambda x, y: y * ops.mean(x, -1, keepdims=True),
    "max over channels": lambda x, y: y * ops.expand_dims(ops.max(x, -1), -1),
    "mean over an axis": lambda x, y: y * ops.mean(x, 1, keepdims=True),
    "max over an axis": lambda x, y: y * ops.expand_dims(ops.max(x, 2), 2),
    "concatenate pixels": lambda x, y: layers.Conv2D(4, 3)(ops.concatenate([x, y], 1)),
    "reshape": lambda x, y: layers.Conv2D(4, 3)(ops.reshape(x, (-1, 10, 8, 8))),
    "transpose": lambda x, y: layers.Conv2D(4, 3)(ops.transpose(x, (0, 2, 1, 3))),
    "swapaxes": lambda x, y: layers.Conv2D(4, 3)(ops.swapaxes(x, 1, 2)),
    "moveaxis": lambda x, y: layers.Conv2D(4, 3)(ops.moveaxis(x, 1, 2)),
    "expand_dims and squeeze": lambda x, y: ops.squeeze(ops.expand_dims(x, 1), 1),
    "pad": lambda x, y: layers.Conv2D(4, 3)(ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))),
    "x[:, 1:-1, 2:]": lambda x, y: layers.Conv2D(4, 3)(x[:, 1:-1, 2:]),
    "x[..., :3]": lambda x, y: layers.Conv2D(4, 3)(x[..., :3]),
    "split": lambda x, y: layers.Conv2D(4, 3)(ops.multiply(*ops.split(x, 2, axis=-1))),
    "max_pool": lambda x, y: ops.max_pool(x, 2, 2, "same"),
    "average_pool": lambda x, y: ops.average_pool(x, 3, 2),
    "cast": lambda x, y: ops.cast(x, "float32") + y,
}


@pytest.mark.parametrize("name", _KEPT)
def test_an_operation_is_kept(name: str) -> None:
    assert not assert_same(_model(_KEPT[name])).notes


def test_a_sum_is_written_like_the_layer_that_adds() -> None:
    image = keras.Input((8, 8, 1))
    one, other = (layers.Conv2D(4, size, padding="same")(image) for size in (1, 3))
    written = [keras.Model(image, layers.Conv2D(2, 1)(each)) for each in (one + other, layers.Add()([one, other]))]
    convolutions = [Convolution(4, (size,), activation="linear", inputs=(i + 1,)) for i, size in enumerate((1, 3))]
    expected = (*convolutions, Activation("linear", inputs=(1, 2), join="add"))
    assert [encode(model) for model in written] == [type(encode(written[0]))(expected)] * 2


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda x, y: x / y, "TrueDivide.*divides by a tensor"),
        (lambda x, y: 2 / x, "TrueDivide.*divides by a tensor"),
        (lambda x, y: x + np.ones((8, 10, 8), "float32"), r"Add.*got an array of shape \(8, 10, 8\)"),
        (lambda x, y: ops.minimum(x, 3.0), "Minimum.*limit of 3"),
        (lambda x, y: ops.clip(x, -1, 1), "Clip.*limits of -1 and 1"),
        (lambda x, y: ops.mean(x, (1, 3), keepdims=True), r"Mean.*axis=\(1, 3\) has no gene"),
        (lambda x, y: ops.flip(x, 1), "Flip.*no gene for this operation"),
        (lambda x, y: ops.pad(x, 1, "reflect"), "Pad.*mode='reflect' has no gene"),
        (lambda x, y: x[:, ::2], "GetItem.*slices of pixels that follow each other"),
        (lambda x, y: ops.transpose(x, (1, 0, 2, 3)), "Transpose.*samples to stay the first axis"),
        (lambda x, y: ops.sum(x, (1, 2)), "Sum.*no gene for this operation"),
        (lambda x, y: ops.stop_gradient(x), "StopGradient.*no gene for this operation"),
    ],
)
def test_an_operation_without_a_gene_is_named_with_its_setting(
    operation: Callable[[Any, Any], Any], message: str
) -> None:
    with pytest.raises(GenomeError, match=message):
        encode(_model(operation))
