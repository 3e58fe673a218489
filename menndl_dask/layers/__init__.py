"""The gene kinds that image networks are made of, one file each. Runs anywhere: only `build` and `read` import Keras.

Each kind has the methods that a user's own kind has, see `Layer`. To add one: write its file, name it here, and name it
in the rules of image networks that it suits.
"""

from __future__ import annotations

from menndl_dask.layers.activation import ACTIVATIONS, Activation
from menndl_dask.layers.convolution import Convolution
from menndl_dask.layers.dense import Flatten, FullyConnected
from menndl_dask.layers.depthwise_convolution import DepthwiseConvolution
from menndl_dask.layers.dropout import Dropout
from menndl_dask.layers.normalisation import NORMALISATIONS, Normalisation
from menndl_dask.layers.pooling import GlobalPooling, Pooling
from menndl_dask.layers.separable_convolution import SeparableConvolution
from menndl_dask.layers.transposed_convolution import TransposedConvolution
from menndl_dask.layers.upsampling import Upsampling
from menndl_dask.layers.weighted import Weighted
from menndl_dask.network_layer import Layer

KINDS: tuple[type[Layer], ...] = (
    Convolution,
    DepthwiseConvolution,
    SeparableConvolution,
    TransposedConvolution,
    FullyConnected,
    Pooling,
    GlobalPooling,
    Flatten,
    Upsampling,
    Dropout,
    Normalisation,
    Activation,
)
__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "NORMALISATIONS",
    "Activation",
    "Convolution",
    "DepthwiseConvolution",
    "Dropout",
    "Flatten",
    "FullyConnected",
    "GlobalPooling",
    "Normalisation",
    "Pooling",
    "SeparableConvolution",
    "TransposedConvolution",
    "Upsampling",
    "Weighted",
]
