"""Cost of a network, computed from its genome without Keras: parameters, FLOPs, memory. Pure.

Conventions. A multiplication and an addition are two FLOPs. Weights and biases are counted exactly; activations,
pooling and normalisation with one FLOP a value and operation, which is small beside the weights. One training step
costs each layer with weights three times its forward pass (gradients with respect to the input and to the weights
cost one forward pass each), except that no layer needs the gradient with respect to the problem's images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache, singledispatch

from menndl_dask import layers as genes
from menndl_dask.domain import spread
from menndl_dask.errors import InfeasibleError
from menndl_dask.genome import Genome, Layer
from menndl_dask.problem import Problem
from menndl_dask.shape import Shape, output_shape, walk

_BYTES = 4  # of a float32
_WEIGHT_COPIES = 4  # weights, gradients and the two moments of Adam
_ACTIVATION_COPIES = 2.0  # kept for the backward pass, and the gradients that meet them there


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs for one sample.

    Parameters
    ----------
    name
        The gene kind, or the part of the head.
    shape
        Of its output, without the batch.
    parameters
        Weights, the moving statistics of normalisations included.
    flops_forward
        FLOPs of its forward pass.
    flops_training
        FLOPs of its forward and backward pass.
    activation_bytes
        Values that are kept for the backward pass.
    """

    name: str
    shape: Shape
    parameters: int
    flops_forward: float
    flops_training: float
    activation_bytes: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs, layer by layer; the layers are those of the canonical genome and then the head's."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """All weights, as Keras counts them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops_forward(self) -> float:
        """FLOPs of the forward pass for one sample."""
        return sum(layer.flops_forward for layer in self.layers)

    @property
    def flops_training(self) -> float:
        """FLOPs of the forward and backward pass for one sample."""
        return sum(layer.flops_training for layer in self.layers)

    def memory_bytes(self, batch_size: int) -> float:
        """Return an estimate of the memory of a training step: weights four times, activations twice.

        What the framework itself takes (a few hundred megabytes) is not in it.
        """
        activations = sum(layer.activation_bytes for layer in self.layers)
        return _BYTES * _WEIGHT_COPIES * self.parameters + _ACTIVATION_COPIES * batch_size * activations


def cost_of(genome: Genome, problem: Problem) -> Cost:
    """Return what the network of a genome costs for a problem, its head included.

    Raises
    ------
    InfeasibleError
        If no network can be built; the message names the layer.
    """
    genome = genome.canonical()
    views = problem.facts.input_shapes
    layers, found = [], []
    for layer, sources, before, after in walk(genome, views):
        layers.append(_layer_cost(layer, before, after, first=max(sources) < 0))
        found.append(after)
    output = found[-1] if found else views[0]
    return Cost((*layers, *_head(problem, output, first=not found)))


@singledispatch
def parameter_count(layer: Layer, shape: Shape) -> int:
    """Return the number of weights of a layer that reads this shape; one rule for each gene kind."""
    return layer.parameter_count(shape)


@singledispatch
def forward_flops(layer: Layer, shape: Shape) -> float:
    """Return the FLOPs of a layer that reads one tensor of this shape; one rule for each gene kind."""
    return layer.forward_flops(shape)


# --- parameters -----------------------------------------------------------------------------------------------------


def _normalisation_parameters(method: str, channels: int) -> int:
    """Return the weights of a normalisation: scale and offset, and for a batch the moving mean and variance."""
    return {"none": 0, "batch": 4, "layer": 2}[method] * channels


def _trailing(layer: genes.Weighted, channels: int) -> int:
    return channels * layer.bias + _normalisation_parameters(layer.normalisation, channels)


def _area(
    layer: genes.Convolution | genes.DepthwiseConvolution | genes.SeparableConvolution | genes.TransposedConvolution,
    shape: Shape,
) -> int:
    return math.prod(spread(layer.kernel_size, len(shape) - 1))


@parameter_count.register(genes.Convolution)
@parameter_count.register(genes.TransposedConvolution)
def _(layer: genes.Convolution | genes.TransposedConvolution, shape: Shape) -> int:
    return _area(layer, shape) * shape[-1] * layer.kernels + _trailing(layer, layer.kernels)


@parameter_count.register
def _(layer: genes.DepthwiseConvolution, shape: Shape) -> int:
    channels = shape[-1] * layer.multiplier
    return _area(layer, shape) * channels + _trailing(layer, channels)


@parameter_count.register
def _(layer: genes.SeparableConvolution, shape: Shape) -> int:
    channels = shape[-1] * layer.multiplier
    return _area(layer, shape) * channels + channels * layer.kernels + _trailing(layer, layer.kernels)


@parameter_count.register
def _(layer: genes.FullyConnected, shape: Shape) -> int:
    return math.prod(shape) * layer.units + _trailing(layer, layer.units)


@parameter_count.register
def _(layer: genes.Normalisation, shape: Shape) -> int:
    return _normalisation_parameters(layer.method, shape[-1])


@parameter_count.register(genes.Pooling)
@parameter_count.register(genes.GlobalPooling)
@parameter_count.register(genes.Upsampling)
@parameter_count.register(genes.Flatten)
@parameter_count.register(genes.Dropout)
@parameter_count.register(genes.Activation)
def _(layer: Layer, shape: Shape) -> int:
    return 0


# --- FLOPs ----------------------------------------------------------------------------------------------------------


def _values_flops(layer: genes.Weighted, values: int) -> float:
    """Return the FLOPs of bias, normalisation and activation on so many values."""
    normalised = 2 if layer.normalisation != "none" else 0
    return float(values * (layer.bias + normalised + (layer.activation != "linear")))


@forward_flops.register
def _(layer: genes.Convolution, shape: Shape) -> float:
    values = math.prod(output_shape(layer, shape))
    return 2.0 * _area(layer, shape) * shape[-1] * values + _values_flops(layer, values)


@forward_flops.register
def _(layer: genes.TransposedConvolution, shape: Shape) -> float:
    # every input pixel is multiplied into a window of the output
    values = math.prod(output_shape(layer, shape))
    return 2.0 * _area(layer, shape) * math.prod(shape) * layer.kernels + _values_flops(layer, values)


@forward_flops.register
def _(layer: genes.DepthwiseConvolution, shape: Shape) -> float:
    values = math.prod(output_shape(layer, shape))
    return 2.0 * _area(layer, shape) * values + _values_flops(layer, values)


@forward_flops.register
def _(layer: genes.SeparableConvolution, shape: Shape) -> float:
    after = output_shape(layer, shape)
    channels, pixels = shape[-1] * layer.multiplier, math.prod(after[:-1])
    return 2.0 * pixels * channels * (_area(layer, shape) + layer.kernels) + _values_flops(layer, math.prod(after))


@forward_flops.register
def _(layer: genes.FullyConnected, shape: Shape) -> float:
    return 2.0 * math.prod(shape) * layer.units + _values_flops(layer, layer.units)


@forward_flops.register
def _(layer: genes.Pooling, shape: Shape) -> float:
    window = math.prod(spread(layer.size, len(shape) - 1))
    return float(window * math.prod(output_shape(layer, shape)))


@forward_flops.register
def _(layer: genes.GlobalPooling, shape: Shape) -> float:
    return float(math.prod(shape))


@forward_flops.register
def _(layer: genes.Normalisation, shape: Shape) -> float:
    return 2.0 * math.prod(shape)


@forward_flops.register
def _(layer: genes.Flatten, shape: Shape) -> float:
    return 0.0


@forward_flops.register(genes.Upsampling)
@forward_flops.register(genes.Dropout)
@forward_flops.register(genes.Activation)
def _(layer: Layer, shape: Shape) -> float:
    return float(math.prod(output_shape(layer, shape)))


# --- network --------------------------------------------------------------------------------------------------------


# as in `shape`: networks share most of their layers
@lru_cache(maxsize=4096)
def _layer_cost(layer: Layer, before: Shape, after: Shape, *, first: bool) -> LayerCost:
    weights, forward = parameter_count(layer, before), forward_flops(layer, before)
    if len(layer.inputs) > 1 and layer.join == "add":
        forward += (len(layer.inputs) - 1) * math.prod(before)
    kept = math.prod(after) * (2 if getattr(layer, "normalisation", "none") != "none" else 1)
    passes = 2 if first else 3
    return LayerCost(type(layer).__name__, after, weights, forward, forward * passes, _BYTES * kept)


def _head(problem: Problem, output: Shape, *, first: bool) -> list[LayerCost]:
    outputs = problem.facts.outputs
    if problem.task == "segmentation":
        return _dense_head(problem.facts.input_shapes[0][:-1], output, outputs, first=first)
    layers = []
    if len(output) > 1:
        pooling = genes.GlobalPooling("average")
        layers.append(_layer_cost(pooling, output, output[-1:], first=first))
    # a softmax costs about what another activation costs, and regression scales its values instead
    dense = genes.FullyConnected(outputs, activation="softmax")
    return [*layers, replace(_layer_cost(dense, output[-1:], (outputs,), first=first), name="Head")]


def _dense_head(size: Shape, output: Shape, outputs: int, *, first: bool) -> list[LayerCost]:
    if len(output) != len(size) + 1:
        raise InfeasibleError(f"head: expected an image, got {output[0]} features")
    if any(n > m for n, m in zip(output, size, strict=False)):
        raise InfeasibleError(f"head: expected an image of at most {size} pixels, got {output[:-1]}")
    classes = genes.Convolution(outputs, (1,), activation="linear")
    layers = [replace(_layer_cost(classes, output, (*output[:-1], outputs), first=first), name="Head")]
    factors = tuple(-(-m // n) for n, m in zip(output, size, strict=False))
    if max(factors) > 1:
        enlarged = tuple(n * f for n, f in zip(output, factors, strict=False))
        values = math.prod(enlarged) * outputs
        layers.append(LayerCost("Upsampling", (*enlarged, outputs), 0, values, 2.0 * values, _BYTES * values))
    values = math.prod(size) * outputs
    layers.append(LayerCost("Softmax", (*size, outputs), 0, values, 3.0 * values, _BYTES * values))
    return layers
