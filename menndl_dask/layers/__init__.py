"""The gene kinds that image networks are made of. Pure."""

from __future__ import annotations

from menndl_dask.layers.weighted import (
    ACTIVATIONS,
    NORMALISATIONS,
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Pooling,
    SeparableConvolution,
    Training,
    TransposedConvolution,
    Upsampling,
    Weighted,
)

__all__ = [
    "ACTIVATIONS",
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
    "Training",
    "TransposedConvolution",
    "Upsampling",
    "Weighted",
]
