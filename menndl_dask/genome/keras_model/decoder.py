"""Decoding: from a genome to a Keras model. Runs on a worker, in the trainer process.

The model takes images as they are in the data: its first layers normalise them, so that the exported network needs no
preprocessing. The head is not in the genome: the problem determines it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from types import NoneType
from typing import Any

import keras
import numpy as np

from menndl_dask.errors import GenomeError, UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.own_kinds import made_between
from menndl_dask.genome.keras_model.weights import Weights, set_head, set_layer
from menndl_dask.genome.layer import Layer, Seeds
from menndl_dask.genome.layers.common.keras_settings import keras_class, rank_of
from menndl_dask.genome.layers.resampling.upsampling import keras_upsampling
from menndl_dask.genome.shape import common_size
from menndl_dask.moments import scale_of
from menndl_dask.problem import PRECISIONS, Problem
from menndl_dask.validation import demand_kind, one_of

Tensor = Any  # a KerasTensor: Keras ships no types
# outside of this range of standard deviations values are scaled first: Keras would divide by at least its own epsilon
_ORDINARY = (1e-3, 1e6)
_PRECISION = one_of(PRECISIONS)


def decode(
    genome: Genome, problem: Problem, seed: int = 0, precision: str = "float32", weights: Weights | None = None
) -> keras.Model:
    """Build the Keras model of a genome for a problem.

    Parameters
    ----------
    genome
        The network's build instructions.
    problem
        What the network is for: its views, its task and its number of outputs.
    seed
        Random seed of the initial weights and of dropout.
    precision
        Numbers that the genome's layers compute with: ``float32``, ``bfloat16`` or ``float16``. Their weights, the
        normalisation of the images and the head are float32 in any case.
    weights
        What the network begins with instead of random weights, such as those that `encode` returns. The head's are
        used where their number of outputs is the problem's.

    Returns
    -------
    keras.Model
        Not compiled. Inputs are the problem's views, in order, as images of shape ``(batch, *spatial, channel)``. The
        output is of shape ``(batch, class)`` or ``(batch, value)``, for segmentation ``(batch, *spatial, class)``.

    Raises
    ------
    InfeasibleError
        If no network can be built.
    GenomeError
        If the weights are those of another genome.
    UserError
        If an argument is of another kind, or the facts lack the mean or the variance by which the problem normalises.
    """
    demand_kind("decode: genome", genome, Genome, "a Genome")
    demand_kind("decode: problem", problem, Problem, "a Problem, as open_problem returns it")
    demand_kind("decode: seed", seed, Integral, "an integer")
    _PRECISION.demand("decode: precision", precision)
    demand_kind("decode: weights", weights, (Weights, NoneType), "Weights, as encode returns them")
    genome = genome.canonical()
    _check_moments(problem)
    if weights is not None and len(weights.layers) != len(genome.layers):
        got = f"got those of {len(weights.layers)}"
        raise GenomeError(f"weights: expected those of a genome of {len(genome.layers)} layers, {got}")
    cost_of(genome, problem)  # its errors are plainer than those of Keras
    seeds = partial(next, _seeds(seed))
    facts = problem.facts
    inputs = [keras.Input(shape, name=name) for shape, name in zip(facts.input_shapes, problem.inputs, strict=True)]
    with computing_in("float32"):
        views = [_normalised(tensor, problem, v) for v, tensor in enumerate(inputs)]
    tensors: list[Tensor] = []
    with computing_in(precision):
        for i, (layer, sources) in enumerate(zip(genome.layers, genome.sources, strict=True)):
            given = [tensors[s] if s >= 0 else views[-1 - s] for s in sources]
            if weights is not None:
                given = [given[place] for place in weights.order(i, len(given))]
            built, made = _build(layer, joined(layer, given), f"layer{i}", seeds)
            if weights is not None:
                set_layer(made, weights.layers[i], i)
            tensors.append(built)
    with computing_in("float32"):
        output = head(tensors[-1] if tensors else views[0], problem, seeds)
    # a list of one would have to be called with a list of one
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], output, name="network")
    if weights is not None:
        set_head(model.get_layer("head"), weights, problem)
    return model


def _check_moments(problem: Problem) -> None:
    """Check that the mean and variance are known by which images are normalised."""
    facts, channels = problem.facts, [shape[-1] for shape in problem.facts.input_shapes]
    for name in ("mean", "variance") if problem.normalisation != "none" else ():
        got = [len(each) for each in getattr(facts, name)]
        if got != channels:
            expected = f"a number for each channel of each view, {channels} of them"
            raise UserError(f"facts: {name}: expected {expected}, got {got or 'none'}")


def _build(layer: Layer, tensor: Tensor, name: str, seeds: Seeds) -> tuple[Tensor, list[Any]]:
    """Apply the Keras layers of a gene, and check that its rules for shape and weights agree with Keras.

    Returns the result and the layers in order.
    """
    built = layer.build(tensor, name, seeds)
    shape, made = tuple(tensor.shape[1:]), made_between(built, tensor)
    if made is None:
        what = "expected up to 100 Keras layers that read the given tensor, got more or others"
        raise GenomeError(f"gene kind {type(layer).__name__}: build: {what}")
    counted = sum(each.count_params() for each in made if isinstance(each, keras.Layer))
    for rule, expected, came in (
        ("output_shape", tuple(layer.output_shape(shape)), tuple(built.shape[1:])),
        ("parameter_count", layer.parameter_count(shape), counted),
    ):
        if expected != came:
            kind = type(layer).__name__
            raise GenomeError(f"gene kind {kind}: {rule}: expected {expected} by its rule, got {came} from Keras")
    return built, made[::-1]


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Build layers that compute in this precision, with float32 weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _seeds(seed: int) -> Iterator[int]:
    state = seed * 1_000_003 % 2**31
    while True:
        state = (state * 1_103_515_245 + 12_345) % 2**31
        yield state


def _normalised(tensor: Tensor, problem: Problem, view: int) -> Tensor:
    """Apply the normalisation of the problem in plain layers of Keras, so that a saved network needs no class of ours.

    A constant channel is only shifted.
    """
    facts, name = problem.facts, problem.inputs[view]
    if problem.normalisation == "none":
        return tensor
    mean, scale = np.array(facts.mean[view]), np.array(scale_of(facts.mean[view], facts.variance[view]))
    if problem.normalisation == "clip":
        low, high = np.array(facts.clip[view]).T
        factor = 1 / np.where(high > low, high - low, 1.0)  # the lowest value becomes 0, the highest 1
        tensor = keras.layers.Rescaling(factor.tolist(), (-low * factor).tolist(), name=f"range_{name}")(tensor)
        tensor = keras.layers.ReLU(max_value=1.0, name=f"clip_{name}")(tensor)
        mean, scale = (mean - low) * factor, scale * factor
    unusual = (scale < _ORDINARY[0]) | (scale > _ORDINARY[1])
    if unusual.any():
        factor = np.where(unusual, 2.0 ** -np.round(np.log2(scale)), 1.0)  # a power of two loses no digit
        tensor = keras.layers.Rescaling(factor.tolist(), name=f"unit_{name}")(tensor)
        mean, scale = mean * factor, scale * factor
    variance = (scale**2).tolist()
    return keras.layers.Normalization(axis=-1, mean=mean.tolist(), variance=variance, name=f"normalisation_{name}")(
        tensor
    )


def joined(layer: Layer, tensors: Sequence[Tensor]) -> Tensor:
    """Return what a layer reads as one tensor."""
    if len(tensors) == 1:
        return tensors[0]
    size = common_size([tuple(tensor.shape[1:]) for tensor in tensors], layer.join)
    assert size is not None  # its cost is known
    tensors = [_cropped(tensor, size) for tensor in tensors]
    if layer.join == "concatenate":
        return keras.layers.Concatenate(axis=-1)(list(tensors))
    return getattr(keras.layers, layer.join.capitalize())()(list(tensors))


def head(tensor: Tensor, problem: Problem, seeds: Seeds) -> Tensor:
    """Apply the head of a problem to the output of its last layer."""
    if problem.by_pixel:
        return _dense_head(tensor, problem, seeds)
    if rank_of(tensor) > 0:
        tensor = keras_class("GlobalAveragePooling", rank_of(tensor))(name="head_pooling")(tensor)
    weights = keras.initializers.GlorotUniform(seed=seeds())
    if problem.task == "classification":
        return keras.layers.Dense(problem.facts.outputs, "softmax", kernel_initializer=weights, name="head")(tensor)
    tensor = keras.layers.Dense(problem.facts.outputs, kernel_initializer=weights, name="head")(tensor)
    return _in_unit(tensor, problem)


def _in_unit(tensor: Tensor, problem: Problem) -> Tensor:
    """Return standardised values, which the network learns, in the user's unit."""
    facts = problem.facts
    scale = list(scale_of(facts.label_mean, facts.label_variance))
    return keras.layers.Rescaling(scale, list(facts.label_mean), name="unit")(tensor)


def _dense_head(tensor: Tensor, problem: Problem, seeds: Seeds) -> Tensor:
    size, rank = problem.facts.input_shapes[0][:-1], rank_of(tensor)
    weights = keras.initializers.GlorotUniform(seed=seeds())
    tensor = keras_class("Conv", rank)(problem.facts.outputs, 1, kernel_initializer=weights, name="head")(tensor)
    factors = tuple(-(-m // n) for n, m in zip(tensor.shape[1:-1], size, strict=True))
    if max(factors) > 1:
        tensor = keras_upsampling(tensor, factors, "bilinear", "head_upsampling")
    tensor = _cropped(tensor, size, "head_cropping")
    if problem.task == "regression":
        return _in_unit(tensor, problem)
    return keras.layers.Activation("softmax", name="probabilities")(tensor)


def _cropped(tensor: Tensor, size: Sequence[int], name: str | None = None) -> Tensor:
    """Leave out the last pixels of a tensor that is larger."""
    surplus = [(0, max(0, int(n) - m)) for n, m in zip(tensor.shape[1:-1], size, strict=True)]
    if not any(right for _, right in surplus):
        return tensor
    rank = rank_of(tensor)
    return keras_class("Cropping", rank)(surplus[0] if rank == 1 else tuple(surplus), name=name)(tensor)
