"""Cost of a network, computed from its genome without Keras: parameters, FLOPs, memory. Pure.

Conventions. A multiplication and an addition are two FLOPs. Weights and biases are counted exactly; activations,
pooling and normalisation with one FLOP a value and operation, which is small beside the weights. One training step
costs each layer with weights three times its forward pass (gradients with respect to the input and to the weights
cost one forward pass each), except that no layer needs the gradient with respect to the problem's images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.genome.layers import Convolution, FullyConnected, GlobalPooling
from menndl_dask.genome.shape import walk
from menndl_dask.problem import Problem

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


# the networks of a search share most of their layers: without the cache an ask takes 13 % longer
@lru_cache(maxsize=4096)
def _layer_cost(layer: Layer, before: Shape, after: Shape, *, first: bool) -> LayerCost:
    weights, forward = layer.parameter_count(before), layer.forward_flops(before)
    if len(layer.inputs) > 1 and layer.join != "concatenate":
        forward += (len(layer.inputs) - (layer.join != "average")) * math.prod(before)
    passes = 2 if first else 3
    kept = _BYTES * layer.kept_values(before)
    return LayerCost(type(layer).__name__, after, weights, forward, forward * passes, kept)


def _head(problem: Problem, output: Shape, *, first: bool) -> list[LayerCost]:
    outputs = problem.facts.outputs
    if problem.task == "segmentation":
        return _dense_head(problem.facts.input_shapes[0][:-1], output, outputs, first=first)
    layers = []
    if len(output) > 1:
        pooling = GlobalPooling("average")
        layers.append(_layer_cost(pooling, output, output[-1:], first=first))
    # a softmax costs about what another activation costs, and regression scales its values instead
    dense = FullyConnected(outputs, activation="softmax")
    return [*layers, replace(_layer_cost(dense, output[-1:], (outputs,), first=first), name="Head")]


def _dense_head(size: Shape, output: Shape, outputs: int, *, first: bool) -> list[LayerCost]:
    if len(output) != len(size) + 1:
        raise InfeasibleError(f"head: expected an image, got {output[0]} features")
    if any(n > m + 1 for n, m in zip(output, size, strict=False)):  # an odd number of pixels, halved and doubled
        raise InfeasibleError(f"head: expected an image of at most {size} pixels, got {output[:-1]}")
    classes = Convolution(outputs, (1,), activation="linear")
    layers = [replace(_layer_cost(classes, output, (*output[:-1], outputs), first=first), name="Head")]
    factors = tuple(-(-m // n) for n, m in zip(output, size, strict=False))
    if max(factors) > 1:
        enlarged = tuple(n * f for n, f in zip(output, factors, strict=False))
        values = math.prod(enlarged) * outputs
        layers.append(LayerCost("Upsampling", (*enlarged, outputs), 0, values, 2.0 * values, _BYTES * values))
    values = math.prod(size) * outputs
    layers.append(LayerCost("Softmax", (*size, outputs), 0, values, 3.0 * values, _BYTES * values))
    return layers
