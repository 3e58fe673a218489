"""Bounds: the values of fields that are valid at all, in the search's domains or not. Pure."""

from __future__ import annotations

from menndl_dask.genome.domain import Choice, Integer, Real, Several

ACTIVATIONS = ("relu", "elu", "gelu", "silu", "tanh", "leaky_relu", "linear")  # what a search chooses from
FUNCTIONS = (  # functions of keras.activations that keep the shape, with the parameters that they have by default
    *ACTIVATIONS, "relu6", "selu", "celu", "softplus", "softsign", "squareplus", "sigmoid", "hard_sigmoid",
    "log_sigmoid", "sparse_sigmoid", "hard_silu", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink",
    "sparse_plus", "mish", "exponential", "softmax", "log_softmax", "sparsemax",
)  # fmt: skip
FLAG = Choice((False, True))
WIDTH = Integer(1, 65_536)  # kernels, units, channels
SIZES = Several(Integer(1, 1024))  # pixels along each axis
STRIDES = Several(Integer(1, 64))  # of windows, and how many times an image is enlarged
RATE = Real(0.0, 0.9999)  # share of the values that are set to zero: less than all
BORDER = Several(Integer(0, 1024))  # pixels that are added or left out along each axis
