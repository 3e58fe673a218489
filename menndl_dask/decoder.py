"""Decoding: from a genome to a Keras model. Runs on a worker, in the trainer process.

The model takes images as they are in the data: a fixed normalisation comes first, so that the exported network
needs no preprocessing. What the genome leaves out is the head, which the problem determines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch
from typing import Any

import keras

from menndl_dask import layers as genes
from menndl_dask.cost import cost_of, parameter_count
from menndl_dask.domain import spread
from menndl_dask.errors import GenomeError
from menndl_dask.genome import Genome, Layer
from menndl_dask.problem import Problem
from menndl_dask.shape import Shape, output_shape

Tensor = Any  # a KerasTensor: Keras ships no types
Seeds = Callable[[], int]
_EPSILON = 1e-12  # below this a channel is constant, and is only shifted


def decode(genome: Genome, problem: Problem, seed: int = 0, precision: str = "float32") -> keras.Model:
    """Build the Keras model of a genome for a problem.

    Parameters
    ----------
    genome
        The network's build instructions.
    problem
        What the network is for: its views, its task and its number of outputs.
    seed
        Of the initial weights and of dropout.
    precision
        Numbers that the genome's layers compute with: ``float32``, ``bfloat16`` or ``float16``. Their weights, the
        normalisation of the images and the head are float32 in any case.

    Returns
    -------
    keras.Model
        Not compiled. Inputs are the problem's views, in order, as images of shape ``(batch, *spatial, channel)``. The
        output is of shape ``(batch, class)`` or ``(batch, value)``, for segmentation ``(batch, *spatial, class)``.

    Raises
    ------
    InfeasibleError
        If no network can be built.
    """
    genome = genome.canonical()
    cost_of(genome, problem)  # says in our words what does not fit
    seeds = _seeds(seed)
    facts = problem.facts
    inputs = [
        keras.Input(shape, name=name) for shape, name in zip(facts.input_shapes, problem.inputs, strict=True)
    ]
    with _computing_in("float32"):
        views = [_normalised(tensor, problem, v) for v, tensor in enumerate(inputs)]
    tensors: list[Tensor] = []
    with _computing_in(precision):
        for i, (layer, sources) in enumerate(zip(genome.layers, genome.sources, strict=True)):
            given = [tensors[s] if s >= 0 else views[-1 - s] for s in sources]
            tensors.append(build(layer, _joined(layer, given), f"layer{i}", seeds))
    with _computing_in("float32"):
        output = _head(tensors[-1] if tensors else views[0], problem, seeds)
    # a list of one would have to be called with a list of one
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], output, name="network")


@singledispatch
def build(layer: Layer, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    """Build the Keras layers of one gene on a tensor; one rule for each kind, a method of a kind of the user's own.

    Parameters
    ----------
    layer
        The gene.
    tensor
        What it reads, joined.
    name
        Prefix of the Keras layers' names.
    seeds
        Returns the next seed for something random.
    """
    built = layer.build(tensor, name, seeds)
    _check_rules(layer, tuple(tensor.shape[1:]), built)
    return built


def _check_rules(layer: Layer, shape: Shape, built: Tensor) -> None:
    """Hold a user's own gene kind to what its rules have promised."""
    counted = built._keras_history.operation.count_params()
    for rule, expected, came in (
        ("output_shape", output_shape(layer, shape), tuple(built.shape[1:])),
        ("parameter_count", parameter_count(layer, shape), counted),
    ):
        if expected != came:
            kind = type(layer).__name__
            raise GenomeError(f"gene kind {kind}: {rule}: expected {expected} by its rule, got {came} from Keras")


def of_rank(stem: str, rank: int) -> Any:
    """Return the Keras layer class of that name for images of so many axes, such as ``Conv2D``."""
    return getattr(keras.layers, f"{stem}{rank}D")


@contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Have the layers that are made meanwhile compute with these numbers, on float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _seeds(seed: int) -> Seeds:
    state = [seed * 1_000_003 % 2**31]

    def following() -> int:
        state[0] = (state[0] * 1_103_515_245 + 12_345) % 2**31
        return state[0]

    return following


def _normalised(tensor: Tensor, problem: Problem, view: int) -> Tensor:
    mean, variance = problem.facts.mean[view], problem.facts.variance[view]
    # the variance is kept away from zero: Keras would divide a constant channel by its own epsilon
    safe = [v if v > _EPSILON else 1.0 for v in variance]
    name = f"normalisation_{problem.inputs[view]}"
    return keras.layers.Normalization(axis=-1, mean=list(mean), variance=safe, name=name)(tensor)


def _joined(layer: Layer, tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    if layer.join == "add":
        return keras.layers.Add()(list(tensors))
    return keras.layers.Concatenate(axis=-1)(list(tensors))


def _rank(tensor: Tensor) -> int:
    return len(tensor.shape) - 2


def _weights(seeds: Seeds, activation: str) -> Any:
    if activation in ("relu", "leaky_relu", "elu", "gelu", "silu"):
        return keras.initializers.HeNormal(seed=seeds())
    return keras.initializers.GlorotUniform(seed=seeds())


def _finished(layer: genes.Weighted, make: Callable[..., Any], tensor: Tensor, name: str) -> Tensor:
    """Apply a layer with weights, then its normalisation and its activation."""
    if layer.normalisation == "none":
        return make(use_bias=layer.bias, activation=layer.activation, name=name)(tensor)
    tensor = make(use_bias=layer.bias, activation=None, name=name)(tensor)
    tensor = _normalisation(layer.normalisation, f"{name}_normalisation")(tensor)
    if layer.activation != "linear":
        tensor = keras.layers.Activation(layer.activation, name=f"{name}_activation")(tensor)
    return tensor


def _normalisation(method: str, name: str) -> Any:
    if method == "batch":
        # with the few steps of a short training a slow moving average would be far from the truth
        return keras.layers.BatchNormalization(momentum=0.9, name=name)
    return keras.layers.LayerNormalization(axis=-1, name=name)


@build.register
def _(layer: genes.Convolution, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    rank = _rank(tensor)

    def make(**options: Any) -> Any:
        return of_rank("Conv", rank)(
            layer.kernels,
            spread(layer.kernel_size, rank),
            strides=spread(layer.stride, rank),
            padding=layer.padding,
            dilation_rate=spread(layer.dilation, rank),
            kernel_initializer=_weights(seeds, layer.activation),
            **options,
        )

    return _finished(layer, make, tensor, name)


@build.register
def _(layer: genes.DepthwiseConvolution, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    rank = _rank(tensor)

    def make(**options: Any) -> Any:
        return of_rank("DepthwiseConv", rank)(
            spread(layer.kernel_size, rank),
            strides=spread(layer.stride, rank),
            padding=layer.padding,
            depth_multiplier=layer.multiplier,
            dilation_rate=spread(layer.dilation, rank),
            depthwise_initializer=_weights(seeds, layer.activation),
            **options,
        )

    return _finished(layer, make, tensor, name)


@build.register
def _(layer: genes.SeparableConvolution, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    rank = _rank(tensor)

    def make(**options: Any) -> Any:
        return of_rank("SeparableConv", rank)(
            layer.kernels,
            spread(layer.kernel_size, rank),
            strides=spread(layer.stride, rank),
            padding=layer.padding,
            depth_multiplier=layer.multiplier,
            dilation_rate=spread(layer.dilation, rank),
            depthwise_initializer=_weights(seeds, layer.activation),
            pointwise_initializer=_weights(seeds, layer.activation),
            **options,
        )

    return _finished(layer, make, tensor, name)


@build.register
def _(layer: genes.TransposedConvolution, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    rank = _rank(tensor)

    def make(**options: Any) -> Any:
        return getattr(keras.layers, f"Conv{rank}DTranspose")(
            layer.kernels,
            spread(layer.kernel_size, rank),
            strides=spread(layer.stride, rank),
            padding="same",
            kernel_initializer=_weights(seeds, layer.activation),
            **options,
        )

    return _finished(layer, make, tensor, name)


@build.register
def _(layer: genes.FullyConnected, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    if _rank(tensor) > 0:
        tensor = keras.layers.Flatten(name=f"{name}_flatten")(tensor)

    def make(**options: Any) -> Any:
        return keras.layers.Dense(layer.units, kernel_initializer=_weights(seeds, layer.activation), **options)

    return _finished(layer, make, tensor, name)


@build.register
def _(layer: genes.Pooling, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    rank = _rank(tensor)
    kind = of_rank("MaxPooling" if layer.method == "max" else "AveragePooling", rank)
    size, stride = spread(layer.size, rank), spread(layer.stride, rank)
    if rank == 1:  # Keras wants bare numbers here
        return kind(size[0], strides=stride[0], padding=layer.padding, name=name)(tensor)
    return kind(size, strides=stride, padding=layer.padding, name=name)(tensor)


@build.register
def _(layer: genes.GlobalPooling, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    kind = "GlobalMaxPooling" if layer.method == "max" else "GlobalAveragePooling"
    return of_rank(kind, _rank(tensor))(name=name)(tensor)


@build.register
def _(layer: genes.Flatten, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    return keras.layers.Flatten(name=name)(tensor)


@build.register
def _(layer: genes.Upsampling, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    return _enlarged(tensor, spread(layer.size, _rank(tensor)), layer.interpolation, name)


@build.register
def _(layer: genes.Dropout, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    return keras.layers.Dropout(layer.rate, seed=seeds(), name=name)(tensor)


@build.register
def _(layer: genes.Normalisation, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    return _normalisation(layer.method, name)(tensor)


@build.register
def _(layer: genes.Activation, tensor: Tensor, name: str, seeds: Seeds) -> Tensor:
    if layer.function == "linear":  # a bare join
        return tensor
    return keras.layers.Activation(layer.function, name=name)(tensor)


def _enlarged(tensor: Tensor, factors: Shape, interpolation: str, name: str) -> Tensor:
    rank = _rank(tensor)
    if rank == 1:
        return keras.layers.UpSampling1D(factors[0], name=name)(tensor)
    if rank == 2:
        return keras.layers.UpSampling2D(factors, interpolation=interpolation, name=name)(tensor)
    return keras.layers.UpSampling3D(factors, name=name)(tensor)


def _head(tensor: Tensor, problem: Problem, seeds: Seeds) -> Tensor:
    if problem.task == "segmentation":
        return _dense_head(tensor, problem, seeds)
    if _rank(tensor) > 0:
        tensor = of_rank("GlobalAveragePooling", _rank(tensor))(name="head_pooling")(tensor)
    weights = keras.initializers.GlorotUniform(seed=seeds())
    if problem.task == "classification":
        return keras.layers.Dense(problem.facts.outputs, "softmax", kernel_initializer=weights, name="head")(tensor)
    tensor = keras.layers.Dense(problem.facts.outputs, kernel_initializer=weights, name="head")(tensor)
    # the network learns standardised values; the model answers in the user's unit
    scale = [math.sqrt(v) if v > _EPSILON else 1.0 for v in problem.facts.label_variance]
    return keras.layers.Rescaling(scale, list(problem.facts.label_mean), name="unit")(tensor)


def _dense_head(tensor: Tensor, problem: Problem, seeds: Seeds) -> Tensor:
    size, rank = problem.facts.input_shapes[0][:-1], _rank(tensor)
    weights = keras.initializers.GlorotUniform(seed=seeds())
    tensor = of_rank("Conv", rank)(problem.facts.outputs, 1, kernel_initializer=weights, name="head")(tensor)
    factors = tuple(-(-m // n) for n, m in zip(tensor.shape[1:-1], size, strict=True))
    if max(factors) > 1:
        tensor = _enlarged(tensor, factors, "bilinear", "head_upsampling")
    surplus = [(0, int(n) - m) for n, m in zip(tensor.shape[1:-1], size, strict=True)]
    if any(right for _, right in surplus):
        cropping = surplus[0] if rank == 1 else tuple(surplus)
        tensor = of_rank("Cropping", rank)(cropping, name="head_cropping")(tensor)
    return keras.layers.Activation("softmax", name="probabilities")(tensor)
