"""Well-known small networks, written in plain Keras as their authors' readers would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

Built = tuple[keras.Model, str, int]


def le_net_5() -> Built:
    """LeCun et al. 1998, doi:10.1109/5.726791: 61,706 weights."""
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return model, "classification", 10


def vgg_like() -> Built:
    """Stages of two convolutions and a pooling, then two wide layers with dropout."""
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255)])
    for width in (16, 32, 64):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    for _ in range(2):
        model.add(layers.Dense(64, activation="relu"))
        model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10))
    model.add(layers.Softmax())
    return model, "classification", 10


def _batch_normalised(tensor: Any, width: int, stride: int = 1, size: int = 3) -> Any:
    tensor = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False)(tensor)
    return layers.BatchNormalization()(tensor)


def res_net_like() -> Built:
    """Three stages of two residual blocks, projection shortcuts where the image is halved."""
    image = keras.Input((32, 32, 3))
    tensor = layers.ReLU()(_batch_normalised(image, 16))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            shortcut = _batch_normalised(tensor, width, stride, 1) if stride > 1 else tensor
            branch = layers.ReLU()(_batch_normalised(tensor, width, stride))
            branch = _batch_normalised(branch, width)
            tensor = layers.ReLU()(layers.Add()([branch, shortcut]))
    tensor = layers.GlobalAveragePooling2D()(tensor)
    return keras.Model(image, layers.Dense(10, activation="softmax")(tensor)), "classification", 10


def inception_like() -> Built:
    """Two modules of four parallel branches."""
    image = keras.Input((28, 28, 1))
    tensor = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    for width in (8, 16):
        one = layers.Conv2D(width, 1, activation="relu")(tensor)
        three = layers.Conv2D(width // 2, 1, activation="relu")(tensor)
        three = layers.Conv2D(width, 3, padding="same", activation="relu")(three)
        five = layers.Conv2D(width // 4, 1, activation="relu")(tensor)
        five = layers.Conv2D(width, 5, padding="same", activation="relu")(five)
        pooled = layers.MaxPooling2D(3, strides=1, padding="same")(tensor)
        pooled = layers.Conv2D(width, 1, activation="relu")(pooled)
        tensor = layers.Concatenate()([one, three, five, pooled])
        tensor = layers.MaxPooling2D()(tensor)
    tensor = layers.Dropout(0.4)(layers.GlobalAveragePooling2D()(tensor))
    return keras.Model(image, layers.Dense(10, activation="softmax")(tensor)), "classification", 10


def u_net() -> Built:
    """Three levels; transposed convolutions on the way up."""
    image = keras.Input((32, 32, 1))
    tensor, skips = image, []
    for width in (8, 16):
        for _ in range(2):
            tensor = layers.Conv2D(width, 3, padding="same", activation="relu")(tensor)
        skips.append(tensor)
        tensor = layers.MaxPooling2D()(tensor)
    tensor = layers.Conv2D(32, 3, padding="same", activation="relu")(tensor)
    for width, skip in ((16, skips[1]), (8, skips[0])):
        tensor = layers.Conv2DTranspose(width, 2, strides=2, padding="same")(tensor)
        tensor = layers.Concatenate()([skip, tensor])
        for _ in range(2):
            tensor = layers.Conv2D(width, 3, padding="same", activation="relu")(tensor)
    return keras.Model(image, layers.Conv2D(4, 1, activation="softmax")(tensor)), "segmentation", 4


NETWORKS: dict[str, Callable[[], Built]] = {
    "LeNet-5": le_net_5,
    "VGG-like": vgg_like,
    "ResNet-like": res_net_like,
    "Inception-like": inception_like,
    "U-Net": u_net,
}
