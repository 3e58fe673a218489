"""Cost of a network, layer by layer, from its genome without Keras: parameters, FLOPs, memory, intensity. Pure.

Conventions. A multiplication and an addition are two FLOPs. Weights and biases are counted exactly, borders and
dilated kernels as if each weight met a pixel; activations, pooling and normalisation with one FLOP a value and
operation, which is small beside the weights.

The backward pass has two parts. The gradient by the weights costs a layer with weights as much as its forward pass:
the same products, and the derivatives of its activation and normalisation. The gradient by the inputs costs the
products once more, and a layer without weights as much as its forward pass. It is needed only where a layer before has
weights, so not for the problem's images. See `Layer.weight_gradient_flops` and `Layer.input_gradient_flops`.
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
from menndl_dask.validation import demand_kind

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
    flops_weights
        FLOPs of the backward pass for the gradient by its weights.
    flops_inputs
        FLOPs of the backward pass for the gradient by its inputs; 0 where no layer before has weights.
    activation_bytes
        Bytes of the values that are kept for the backward pass, with float32.
    read_values
        Number of values that it reads.
    """

    name: str
    shape: Shape
    parameters: int
    flops_forward: float
    flops_weights: float
    flops_inputs: float
    activation_bytes: float
    read_values: int

    @property
    def flops_training(self) -> float:
        """FLOPs of its forward and backward pass."""
        return self.flops_forward + self.flops_weights + self.flops_inputs

    def moved_bytes(self, batch_size: int = 1, value_bytes: int = _BYTES) -> float:
        """Return the bytes that a forward pass must move at least: inputs and weights read once, the output written."""
        return value_bytes * float(batch_size * (self.read_values + math.prod(self.shape)) + self.parameters)

    def intensity(self, batch_size: int = 1, value_bytes: int = _BYTES) -> float:
        """Return the arithmetic intensity of the forward pass: FLOPs for each byte that it must move.

        The larger the batch, the more often a weight is used that was read once; see Williams et al. 2009,
        doi:10.1145/1498765.1498785.
        """
        return batch_size * self.flops_forward / self.moved_bytes(batch_size, value_bytes)


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
    def flops_weights(self) -> float:
        """FLOPs of the gradient by the weights for one sample."""
        return sum(layer.flops_weights for layer in self.layers)

    @property
    def flops_inputs(self) -> float:
        """FLOPs of the gradient by the inputs of layers for one sample."""
        return sum(layer.flops_inputs for layer in self.layers)

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
    UserError
        If these are no genome and no problem.
    """
    demand_kind("cost_of: genome", genome, Genome, "a Genome")
    demand_kind("cost_of: problem", problem, Problem, "a Problem, as open_problem returns it")
    return Cost(costs_as_written(genome.canonical(), problem))


def costs_as_written(genome: Genome, problem: Problem) -> tuple[LayerCost, ...]:
    """Return the costs of the layers of a genome as it is written, those of cells one by one, and then the head's.

    Raises
    ------
    InfeasibleError
        If no network can be built.
    """
    views = problem.facts.input_shapes
    found: list[LayerCost] = []
    trained: list[bool] = []  # whether a layer or one before it has weights
    for layer, sources, before, after in walk(genome, views):
        wanted = any(trained[s] for s in sources if s >= 0)
        found.append(_layer_cost(layer, before, after, is_wanted=wanted))
        trained.append(wanted or found[-1].parameters > 0)
    output, wanted = (found[-1].shape, trained[-1]) if found else (views[0], False)
    return (*found, *_head(problem, output, is_wanted=wanted))


# the networks of a search share most of their layers: without the cache an ask takes 13 % longer
@lru_cache(maxsize=4096)
def _layer_cost(layer: Layer, before: Shape, after: Shape, *, is_wanted: bool) -> LayerCost:
    """Return what a layer costs; `is_wanted` says whether the gradient by its inputs is needed."""
    weights, forward = layer.parameter_count(before), layer.forward_flops(before)
    by_weights, by_inputs = layer.weight_gradient_flops(before), layer.input_gradient_flops(before)
    read, joined = math.prod(before), 0.0
    if len(layer.inputs) > 1 and layer.join != "concatenate":
        joined = float((len(layer.inputs) - (layer.join != "average")) * read)
        read *= len(layer.inputs)
    by_inputs = by_inputs + joined if is_wanted else 0.0
    kept = _BYTES * layer.kept_values(before)
    return LayerCost(type(layer).__name__, after, weights, forward + joined, by_weights, by_inputs, kept, read)


def _head(problem: Problem, output: Shape, *, is_wanted: bool) -> list[LayerCost]:
    outputs = problem.facts.outputs
    if problem.by_pixel:
        return _dense_head(problem.facts.input_shapes[0][:-1], output, outputs, is_wanted=is_wanted)
    layers = []
    if len(output) > 1:
        pooling = GlobalPooling("average")
        layers.append(_layer_cost(pooling, output, output[-1:], is_wanted=is_wanted))
    # a softmax costs about what another activation costs, and regression scales its values instead
    dense = FullyConnected(outputs, activation="softmax")
    return [*layers, replace(_layer_cost(dense, output[-1:], (outputs,), is_wanted=is_wanted), name="Head")]


def _dense_head(size: Shape, output: Shape, outputs: int, *, is_wanted: bool) -> list[LayerCost]:
    if len(output) != len(size) + 1:
        raise InfeasibleError(f"head: expected an image, got {output[0]} features")
    if any(n > m + 1 for n, m in zip(output, size, strict=False)):  # an odd number of pixels, halved and doubled
        raise InfeasibleError(f"head: expected an image of at most {size} pixels, got {output[:-1]}")
    classes = Convolution(outputs, (1,), activation="linear")
    layers = [replace(_layer_cost(classes, output, (*output[:-1], outputs), is_wanted=is_wanted), name="Head")]
    factors = tuple(-(-m // n) for n, m in zip(output, size, strict=False))
    if max(factors) > 1:
        enlarged = tuple(n * f for n, f in zip(output, factors, strict=False))
        values = math.prod(enlarged) * outputs
        read = math.prod(layers[0].shape)
        layers.append(LayerCost("Upsampling", (*enlarged, outputs), 0, values, 0.0, values, _BYTES * values, read))
    values = math.prod(size) * outputs
    layers.append(LayerCost("Softmax", (*size, outputs), 0, values, 0.0, values, _BYTES * values, values))
    return layers
