"""The gene kinds that image networks are made of, one file each. Runs anywhere: only `build` and `read` import Keras.

Each kind has the methods that a user's own kind has, see `Layer`. Those with weights inherit two from `Weighted`.
To add one: write its file, name it here, and name it in the rules of image networks that it suits.
"""

from __future__ import annotations

from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers.attention.attention_gate import AttentionGate
from menndl_dask.genome.layers.attention.self_attention import PositionalEmbedding, SelfAttention
from menndl_dask.genome.layers.attention.squeeze_excitation import SqueezeExcitation
from menndl_dask.genome.layers.common.bounds import ACTIVATIONS, FUNCTIONS
from menndl_dask.genome.layers.convolutions.convolution import Convolution
from menndl_dask.genome.layers.convolutions.depthwise_convolution import DepthwiseConvolution
from menndl_dask.genome.layers.convolutions.separable_convolution import SeparableConvolution
from menndl_dask.genome.layers.convolutions.transposed_convolution import TransposedConvolution
from menndl_dask.genome.layers.dense import Flatten, FullyConnected
from menndl_dask.genome.layers.elementwise.activation import Activation
from menndl_dask.genome.layers.elementwise.dropout import Dropout
from menndl_dask.genome.layers.elementwise.local_response import LocalResponseNormalisation
from menndl_dask.genome.layers.elementwise.noise import Noise
from menndl_dask.genome.layers.elementwise.normalisation import NORMALISATIONS, Normalisation
from menndl_dask.genome.layers.elementwise.prelu import PReLU
from menndl_dask.genome.layers.elementwise.scaling import LayerScale, Rescaling
from menndl_dask.genome.layers.resampling.border import Cropping, ZeroPadding
from menndl_dask.genome.layers.resampling.pooling import GlobalPooling, Pooling
from menndl_dask.genome.layers.resampling.reshaping import Permute, Reshape
from menndl_dask.genome.layers.resampling.resizing import Resizing
from menndl_dask.genome.layers.resampling.upsampling import Upsampling
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
    PReLU,
    SqueezeExcitation,
    AttentionGate,
    ZeroPadding,
    Cropping,
    Reshape,
    Permute,
    Resizing,
    Rescaling,
    LayerScale,
    LocalResponseNormalisation,
    Noise,
    SelfAttention,
    PositionalEmbedding,
)
__all__ = [
    "ACTIVATIONS",
    "FUNCTIONS",
    "KINDS",
    "NORMALISATIONS",
    "Activation",
    "AttentionGate",
    "Convolution",
    "Cropping",
    "DepthwiseConvolution",
    "Dropout",
    "Flatten",
    "FullyConnected",
    "GlobalPooling",
    "LayerScale",
    "LocalResponseNormalisation",
    "Noise",
    "Normalisation",
    "PReLU",
    "Permute",
    "Pooling",
    "PositionalEmbedding",
    "Rescaling",
    "Reshape",
    "Resizing",
    "SelfAttention",
    "SeparableConvolution",
    "SqueezeExcitation",
    "TransposedConvolution",
    "Upsampling",
    "Weighted",
    "ZeroPadding",
]
