"""The weights of a network, arranged by the layers of its genome. Runs wherever Keras is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from menndl_dask.errors import GenomeError
from menndl_dask.moments import scale_of
from menndl_dask.problem import Problem

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The weights of a network.

    Parameters
    ----------
    layers
        For each layer of the canonical genome (`Genome.canonical`, `Genome.layers`) its arrays, in the order in which
        its Keras layers have them: for a convolution with batch normalisation kernel, bias, gamma, beta, moving mean
        and moving variance. Empty for a layer without weights.
    orders
        For each layer the order in which these weights expect its inputs, as places in `Layer.inputs`. It matters for
        concatenations: a genome may be written with another order of channels, as weights can be permuted.
    head
        Of shape ``(features, outputs)``, and the bias; before the activation, in the unit of the model's answer. None
        if the model ended with other layers, which are in the genome: then the head of `decode` changes no value.
    function
        The activation of the model's answer: ``softmax``, ``sigmoid``, ``linear``, or another.
    """

    layers: tuple[Arrays, ...]
    orders: tuple[tuple[int, ...], ...]
    head: Arrays | None = None
    function: str = "linear"

    def order(self, place: int, inputs: int) -> tuple[int, ...]:
        """Return the order in which a layer reads so many inputs; raises `GenomeError` if it is of another layer."""
        order = self.orders[place] if place < len(self.orders) else ()
        if sorted(order) != list(range(inputs)):
            raise GenomeError(f"weights: orders: {place}: expected an order of {inputs} inputs, got {order}")
        return order


def set_layer(made: Sequence[Any], arrays: Arrays, place: int) -> None:
    """Set the weights of the Keras layers of one gene.

    Raises
    ------
    GenomeError
        If the arrays are not as many, or not as large, as the weights.
    """
    variables = [variable for layer in made for variable in getattr(layer, "weights", ())]
    sizes = [tuple(variable.shape) for variable in variables]
    if [int(np.prod(size)) for size in sizes] != [array.size for array in arrays]:
        got = [array.shape for array in arrays]
        raise GenomeError(f"weights: layers: {place}: expected arrays of the shapes {sizes}, got {got}")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(np.reshape(array, variable.shape))


def set_head(layer: Any, weights: Weights, problem: Problem) -> None:
    """Set the weights of a head where its number of outputs is that of the weights; else it keeps its initial ones."""
    kernel, bias = layer.weights
    features, outputs = int(np.prod(kernel.shape[:-1])), int(kernel.shape[-1])
    given = weights.head if weights.head is not None else (np.eye(features), np.zeros(features))
    if weights.function == "sigmoid" and given[0].shape[-1] == 1 and outputs == 2:  # the same as softmax of 0 and this
        given = tuple(np.concatenate([np.zeros_like(array), array], -1) for array in given)
    if given[0].shape != (features, outputs):
        return
    scale, offset = np.ones(outputs), np.zeros(outputs)
    if problem.task == "regression":  # the model answers in the user's unit, after its head
        facts = problem.facts
        scale, offset = np.array(scale_of(facts.label_mean, facts.label_variance)), np.array(facts.label_mean)
    kernel.assign(np.reshape(given[0] / scale, kernel.shape))
    bias.assign((given[1] - offset) / scale)
