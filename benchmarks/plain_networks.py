"""Networks written in plain Keras, as their authors' readers would, for ``two_way_map.py``. Small: they show kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from menndl_dask.genome.layers import LocalResponseNormalisation


def _convolved(
    tensor: Any, width: int, size: int = 3, stride: int = 1, activation: str | None = "relu", **more: Any
) -> Any:
    tensor = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False, **more)(tensor)
    tensor = layers.BatchNormalization()(tensor)
    return layers.Activation(activation)(tensor) if activation else tensor


def _classified(image: Any, tensor: Any, classes: int = 10) -> keras.Model:
    if len(tensor.shape) > 2:
        pooling = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D, 5: layers.GlobalAveragePooling3D}
        tensor = pooling[len(tensor.shape)]()(tensor)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(tensor))


def vision_transformer() -> keras.Model:
    """Dosovitskiy et al. 2021, without a class token and embedded positions; four blocks of four heads."""
    image = keras.Input((32, 32, 3))
    tensor = layers.Conv2D(64, 4, strides=4)(image)
    tensor = layers.Reshape((64, 64))(tensor)
    for _ in range(4):
        normed = layers.LayerNormalization(epsilon=1e-6)(tensor)
        tensor = tensor + layers.MultiHeadAttention(4, 16, dropout=0.1)(normed, normed)
        normed = layers.LayerNormalization(epsilon=1e-6)(tensor)
        normed = layers.Dropout(0.1)(layers.Dense(128, activation="gelu")(normed))
        tensor = layers.Add()([tensor, layers.Dense(64)(normed)])
    return _classified(image, layers.LayerNormalization(epsilon=1e-6)(tensor))


def squeeze_net() -> keras.Model:
    """Iandola et al. 2016: fire modules; ends with a convolution, a rectifier and global pooling."""
    image = keras.Input((64, 64, 3))
    tensor = layers.MaxPooling2D(3, 2)(layers.Conv2D(64, 3, strides=2, activation="relu")(image))
    for squeeze, expand in ((16, 64), (16, 64), (32, 128), (32, 128)):
        small = layers.Conv2D(squeeze, 1, activation="relu")(tensor)
        left = layers.Conv2D(expand, 1, activation="relu")(small)
        right = layers.Conv2D(expand, 3, padding="same", activation="relu")(small)
        tensor = layers.concatenate([left, right])
    tensor = layers.Conv2D(10, 1, activation="relu")(layers.Dropout(0.5)(tensor))
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(tensor)))


def network_in_network() -> keras.Model:
    """Lin et al. 2014: ends with a convolution of single pixels and global pooling."""
    image = keras.Input((32, 32, 3))
    tensor = image
    for width, size in ((48, 5), (96, 3)):
        tensor = layers.Conv2D(width, size, padding="same", activation="relu")(tensor)
        tensor = layers.Conv2D(width, 1, activation="relu")(tensor)
        tensor = layers.MaxPooling2D(3, 2, padding="same")(tensor)
    tensor = layers.Conv2D(10, 1)(layers.Conv2D(96, 3, padding="same", activation="relu")(tensor))
    return keras.Model(image, layers.Activation("softmax")(layers.GlobalAveragePooling2D()(tensor)))


def _u_net_down(image: Any, widths: tuple[int, ...]) -> tuple[Any, list[Any]]:
    tensor, skips = image, []
    for width in widths:
        tensor = _convolved(_convolved(tensor, width), width)
        skips.append(tensor)
        tensor = layers.MaxPooling2D()(tensor)
    return _convolved(tensor, 2 * widths[-1]), skips


def u_net_transposed() -> keras.Model:
    """Ronneberger et al. 2015, with transposed convolutions."""
    image = keras.Input((64, 64, 1))
    tensor, skips = _u_net_down(image, (16, 32))
    for width, skip in ((32, skips[1]), (16, skips[0])):
        tensor = layers.Conv2DTranspose(width, 2, strides=2, padding="same")(tensor)
        tensor = _convolved(_convolved(layers.Concatenate()([tensor, skip]), width), width)
    return keras.Model(image, layers.Conv2D(4, 1, activation="softmax")(tensor))


def attention_u_net() -> keras.Model:
    """Oktay et al. 2018: gates on the encoder's stages, computed from both sides."""
    image = keras.Input((64, 64, 1))
    tensor, skips = _u_net_down(image, (16, 32))
    for width, skip in ((32, skips[1]), (16, skips[0])):
        tensor = layers.UpSampling2D()(tensor)
        both = layers.Conv2D(width // 2, 1)(tensor) + layers.Conv2D(width // 2, 1)(skip)
        gate = layers.Conv2D(1, 1, activation="sigmoid")(ops.relu(both))
        tensor = _convolved(layers.Concatenate()([tensor, skip * gate]), width)
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax")(tensor))


def fully_convolutional() -> keras.Model:
    """Long et al. 2015: scores of two stages are added, and enlarged with a transposed convolution."""
    image = keras.Input((64, 64, 3))
    tensor = layers.MaxPooling2D()(_convolved(image, 16))
    early = layers.MaxPooling2D()(_convolved(tensor, 32))
    late = layers.MaxPooling2D()(_convolved(early, 64))
    scores = layers.Conv2DTranspose(5, 4, strides=2, padding="same", use_bias=False)(layers.Conv2D(5, 1)(late))
    scores = layers.Add()([scores, layers.Conv2D(5, 1)(early)])
    scores = layers.Conv2DTranspose(5, 8, strides=4, padding="same", use_bias=False)(scores)
    return keras.Model(image, layers.Softmax()(scores))


def _shuffled(tensor: Any, groups: int) -> Any:
    height, width, channels = tensor.shape[1:]
    tensor = layers.Reshape((height, width, groups, channels // groups))(tensor)
    return layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(tensor))


def shuffle_net() -> keras.Model:
    """Zhang et al. 2018: grouped convolutions of single pixels, with channels shuffled between them."""
    image = keras.Input((32, 32, 3))
    tensor = _convolved(image, 24, stride=2)
    for _ in range(3):
        branch = _shuffled(_convolved(tensor, 24, 1, groups=3), 3)
        branch = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(branch))
        tensor = layers.ReLU()(layers.Add()([tensor, _convolved(branch, 24, 1, activation=None, groups=3)]))
    return _classified(image, tensor)


def shuffle_net_2() -> keras.Model:
    """Ma et al. 2018: half of the channels go through a branch; split and concatenated with operations."""
    image = keras.Input((32, 32, 3))
    tensor = _convolved(image, 24, stride=2)
    for _ in range(3):
        kept, branch = ops.split(tensor, 2, axis=-1)
        branch = _convolved(branch, 12, 1)
        branch = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(branch))
        tensor = _shuffled(ops.concatenate([kept, _convolved(branch, 12, 1)], axis=-1), 2)
    return _classified(image, tensor)


def ghost_net() -> keras.Model:
    """Han et al. 2020: half of the channels are cheap depthwise copies of the others."""
    image = keras.Input((32, 32, 3))
    tensor = _convolved(image, 16, stride=2)
    for width in (24, 32):
        first = _convolved(tensor, width // 2, 1)
        cheap = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(first)
        tensor = layers.Concatenate()([first, layers.ReLU()(layers.BatchNormalization()(cheap))])
        gate = layers.GlobalAveragePooling2D(keepdims=True)(tensor)
        gate = layers.Conv2D(width // 4, 1, activation="relu")(gate)
        tensor = layers.Multiply()([tensor, layers.Conv2D(width, 1, activation="hard_sigmoid")(gate)])
        tensor = layers.AveragePooling2D(2)(tensor)
    return _classified(image, tensor)


def mlp_mixer() -> keras.Model:
    """Tolstikhin et al. 2021: fully connected layers over patches, and over channels."""
    image = keras.Input((32, 32, 3))
    tensor = layers.Reshape((64, 48))(layers.Conv2D(48, 4, strides=4)(image))
    for _ in range(3):
        mixed = layers.Permute((2, 1))(layers.LayerNormalization()(tensor))
        mixed = layers.Dense(64)(layers.Dense(32, activation="gelu")(mixed))
        tensor = tensor + layers.Permute((2, 1))(mixed)
        mixed = layers.Dense(96, activation="gelu")(layers.LayerNormalization()(tensor))
        tensor = tensor + layers.Dense(48)(mixed)
    return _classified(image, layers.LayerNormalization()(tensor))


def se_res_next() -> keras.Model:
    """Xie et al. 2017 and Hu et al. 2018: grouped convolutions, and squeeze-and-excitation with Dense layers."""
    image = keras.Input((32, 32, 3))
    tensor = _convolved(image, 64)
    for _ in range(2):
        branch = _convolved(_convolved(tensor, 32, 1), 32, groups=8)
        branch = _convolved(branch, 64, 1, activation=None)
        gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(branch))
        gate = layers.Reshape((1, 1, 64))(layers.Dense(64, activation="sigmoid")(gate))
        tensor = layers.ReLU()(tensor + branch * gate)
    return _classified(image, tensor)


def signals() -> keras.Model:
    """Return a residual network of signals, with kernels that look back only, and PReLU."""
    signal = keras.Input((256, 4))
    tensor = layers.Conv1D(16, 7, padding="same")(signal)
    for rate in (1, 2, 4):
        branch = layers.PReLU(shared_axes=[1])(layers.LayerNormalization()(tensor))
        branch = layers.Conv1D(16, 3, dilation_rate=rate)(layers.ZeroPadding1D((2 * rate, 0))(branch))
        tensor = tensor + layers.SpatialDropout1D(0.1)(branch)
        tensor = layers.MaxPooling1D(2)(tensor)
    return _classified(signal, layers.Flatten()(tensor), 5)


def volumes() -> keras.Model:
    """Return a U-Net of volumes with instance normalisation, as nnU-Net has it."""
    volume = keras.Input((16, 32, 32, 1))

    def convolved(tensor: Any, width: int, stride: int | tuple[int, ...] = 1) -> Any:
        tensor = layers.Conv3D(width, 3, strides=stride, padding="same")(tensor)
        return layers.LeakyReLU(0.01)(layers.GroupNormalization(-1, epsilon=1e-5)(tensor))

    fine = convolved(volume, 8)
    coarse = convolved(convolved(fine, 16, (1, 2, 2)), 16)
    tensor = layers.Conv3DTranspose(8, (1, 2, 2), strides=(1, 2, 2), padding="same")(coarse)
    tensor = convolved(layers.Concatenate()([tensor, fine]), 8)
    return keras.Model(volume, layers.Conv3D(3, 1, activation="softmax")(tensor))


def transfer() -> keras.Model:
    """Return a known network in a new model, as scripts for transfer learning have it."""
    base = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    base.trainable = False
    image = keras.Input((64, 64, 3))
    tensor = layers.Rescaling(1 / 127.5, offset=-1)(layers.RandomFlip("horizontal")(image))
    tensor = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(base(tensor, training=False)))
    return keras.Model(image, layers.Dense(5, activation="softmax")(tensor))


def twins() -> keras.Model:
    """Return one network for two images, whose features are compared."""
    branch = keras.Sequential(
        [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(32)]
    )
    images = [keras.Input((24, 24, 1)), keras.Input((24, 24, 1))]
    first, second = map(branch, images)
    return keras.Model(
        images, layers.Dense(2, activation="softmax")(layers.Multiply()([first, second]) + first - second)
    )


def _local(tensor: Any, alpha: float) -> Any:
    """Normalise over 5 neighbouring channels, as Caffe's LRN with its defaults; Keras has no layer for it."""
    gene = LocalResponseNormalisation(radius=2, bias=1.0, alpha=alpha / 5, beta=0.75)
    return gene.build(tensor, f"local_{keras.backend.get_uid('local')}", int)


def minerva_633167() -> keras.Model:
    """Return a network that MENNDL evolved for MINERvA's vertices, from the collaboration's TensorFlow code."""
    views = [keras.Input((127, width, 2)) for width in (94, 47, 47)]
    ends = []
    for view in views:
        tensor = layers.Dropout(0.1)(layers.Conv2D(32, (8, 3), strides=(2, 1), activation="relu")(view))
        tensor = layers.Conv2D(20, (6, 7), activation="relu")(tensor)
        tensor = layers.Conv2D(28, (12, 39), activation="relu")(tensor)
        ends.append(layers.Flatten()(layers.MaxPooling2D((2, 1))(tensor)))
    tensor = layers.Concatenate()(ends)
    for _ in range(2):
        tensor = layers.Dense(64, activation="relu")(layers.Dropout(0.1)(tensor))
    return keras.Model(views, layers.Dense(173, activation="softmax")(tensor))


def minerva_start() -> keras.Model:
    """Return the network from which the search for MINERvA's vertices began, from its Caffe file."""
    views = [keras.Input((127, width, 2)) for width in (94, 47, 47)]
    ends = []
    for view in views:
        tensor = layers.MaxPooling2D(1)(layers.Conv2D(12, (8, 3), activation="relu")(view))
        tensor = layers.MaxPooling2D((2, 1))(layers.Conv2D(20, (12, 45), activation="relu")(tensor))
        tensor = layers.MaxPooling2D((2, 1))(layers.Conv2D(28, (11, 1), activation="relu")(tensor))
        ends.append(layers.Flatten()(tensor))
    tensor = layers.Concatenate()(ends)
    for _ in range(2):
        tensor = layers.ReLU()(layers.Dropout(0.1)(layers.Dense(64)(tensor)))
    return keras.Model(views, layers.Dense(173, activation="softmax")(tensor))


def nova() -> keras.Model:
    """Return a network that MENNDL evolved for NOvA's events, from its Caffe file."""

    def inception(tensor: Any) -> Any:
        three = layers.Conv2D(128, 3, padding="same", activation="relu")(
            layers.Conv2D(96, 1, activation="relu")(tensor)
        )
        five = layers.Conv2D(32, 5, padding="same", activation="relu")(layers.Conv2D(16, 1, activation="relu")(tensor))
        pooled = layers.Conv2D(32, 1, activation="relu")(layers.MaxPooling2D(3, 1, padding="same")(tensor))
        return layers.Concatenate()([layers.Conv2D(64, 1, activation="relu")(tensor), three, five, pooled])

    views = [keras.Input((100, 80, 1)) for _ in range(2)]
    ends = []
    for view in views:
        tensor = layers.ReLU()(layers.Dropout(0.680607)(layers.Conv2D(32, 7, strides=2)(view)))
        tensor = layers.Activation("sigmoid")(layers.MaxPooling2D((37, 3), strides=(5, 3))(tensor))
        tensor = layers.Conv2D(46, 1)(layers.Conv2D(7, (1, 4))(tensor))
        tensor = layers.Conv2D(58, 1, activation="relu")(layers.Conv2D(96, (1, 9), activation="relu")(tensor))
        ends.append(inception(_local(tensor, 1e-4)))
    return _classified(views, _local(inception(layers.Concatenate()(ends)), 0.906179), 8)


MENNDL: dict[str, Callable[[], keras.Model]] = {
    "MINERvA, start": minerva_start,
    "MINERvA, 633167": minerva_633167,
    "NOvA": nova,
}
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "Vision transformer": vision_transformer,
    "SqueezeNet": squeeze_net,
    "Network in network": network_in_network,
    "U-Net, transposed convolutions": u_net_transposed,
    "Attention U-Net": attention_u_net,
    "Fully convolutional network": fully_convolutional,
    "ShuffleNet": shuffle_net,
    "ShuffleNet 2": shuffle_net_2,
    "GhostNet": ghost_net,
    "MLP-Mixer": mlp_mixer,
    "SE-ResNeXt": se_res_next,
    "Residual network of signals": signals,
    "U-Net of volumes": volumes,
    "Transfer learning from MobileNetV2": transfer,
    "Twin network": twins,
}
