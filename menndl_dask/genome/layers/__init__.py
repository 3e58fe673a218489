"""The gene kinds that image networks are made of, one file each. Runs anywhere: only `build` and `read` import Keras.

Each kind has the methods that a user's own kind has, see `Layer`. Those with weights inherit two from `Weighted`.
To add one: write its file, name it here, and name it in the rules of image networks that it suits.
"""

from __future__ import annotations

from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers.activation import ACTIVATIONS, Activation
from menndl_dask.genome.layers.attention_gate import AttentionGate
from menndl_dask.genome.layers.convolution import Convolution
from menndl_dask.genome.layers.dense import Flatten, FullyConnected
from menndl_dask.genome.layers.depthwise_convolution import DepthwiseConvolution
from menndl_dask.genome.layers.dropout import Dropout
from menndl_dask.genome.layers.normalisation import NORMALISATIONS, Normalisation
from menndl_dask.genome.layers.pooling import GlobalPooling, Pooling
from menndl_dask.genome.layers.separable_convolution import SeparableConvolution
from menndl_dask.genome.layers.squeeze_excitation import SqueezeExcitation
from menndl_dask.genome.layers.transposed_convolution import TransposedConvolution
from menndl_dask.genome.layers.upsampling import Upsampling
from menndl_dask.genome.layers.weighted import Weighted

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
    SqueezeExcitation,
    AttentionGate,
)
__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "NORMALISATIONS",
    "Activation",
    "AttentionGate",
    "Convolution",
    "DepthwiseConvolution",
    "Dropout",
    "Flatten",
    "FullyConnected",
    "GlobalPooling",
    "Normalisation",
    "Pooling",
    "SeparableConvolution",
    "SqueezeExcitation",
    "TransposedConvolution",
    "Upsampling",
    "Weighted",
]
