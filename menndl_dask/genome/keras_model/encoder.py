"""Encoding: from a Keras model back to a genome. Runs on a worker, in the trainer process, or wherever Keras is.

The model's graph is walked from its output. What the problem determines (inputs, their normalisation, the head) is left
out. Every other layer becomes a gene, and the canonical form merges weights, normalisation and activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from menndl_dask.errors import GenomeError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.own_kinds import read_own
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import KINDS, Activation
from menndl_dask.genome.layers.attention.gate import gated_tensor
from menndl_dask.genome.layers.common.keras_settings import check_settings, expect, keras_class, unsupported
from menndl_dask.genome.shape import common_size
from menndl_dask.genome.topology import Sources

_PREPROCESSING = (keras.layers.Normalization, keras.layers.Rescaling)
_AFTER_HEAD = (
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.Rescaling,
    *(keras_class("UpSampling", rank) for rank in (1, 2, 3)),
    *(keras_class("Cropping", rank) for rank in (1, 2, 3)),
)
_CROPPING = tuple(keras_class("Cropping", rank) for rank in (1, 2, 3))
_JOINING = (keras.layers.Add, keras.layers.Concatenate)
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def encode(model: keras.Model) -> Genome:
    """Read the build instructions of a Keras model.

    Parameters
    ----------
    model
        A functional or sequential model of supported layers, that ends in a fully connected layer or a convolution of
        single pixels (its head, which is not encoded).

    Returns
    -------
    Genome
        In canonical form; for a model that `decode` built, the genome that it was built from.

    Raises
    ------
    GenomeError
        If a layer, or one of its settings, has no gene; the message names the layer.
    """
    if not getattr(model, "outputs", None):
        raise GenomeError(f"model {model.name!r}: expected a functional or built sequential model")
    if len(model.outputs) != 1:
        raise GenomeError(f"model {model.name!r}: expected one output, got {len(model.outputs)}")
    walk = _Walk([id(tensor) for tensor in model.inputs])
    tip = walk.node(_below_head(model))
    if tip < 0:  # the head reads a view
        return Genome.connect([Activation("linear")], [(tip,)]).canonical()
    if tip != len(walk.layers) - 1:
        raise GenomeError(f"model {model.name!r}: expected the head to read the last layer")
    return Genome.connect(walk.layers, walk.sources).canonical()


class _Walk:
    """A walk through a model's graph: the genes found so far, and what each of them reads."""

    def __init__(self, inputs: Sequence[int]) -> None:
        self.layers: list[Layer] = []
        self.sources: list[Sources] = []
        self.found = {tensor: -1 - v for v, tensor in enumerate(inputs)}  # the gene or view of each tensor
        self.used: set[int] = set()

    def node(self, tensor: Any) -> int:
        """Return the index of the gene that makes a tensor, reading what it depends on first."""
        stack = [tensor]  # own stack, because models may be deeper than Python's
        while stack:
            current = stack[-1]
            missing = [t for t in _inputs_of(current) if id(t) not in self.found]
            if id(current) in self.found:
                stack.pop()
            elif missing:
                stack.extend(reversed(missing))
            else:
                self.found[id(current)] = self._add(current)
        return self.found[id(tensor)]

    def _add(self, tensor: Any) -> int:
        layer, own = _layer_of(tensor), read_own(tensor)
        sources = tuple(self.found[id(t)] for t in _inputs_of(tensor))
        if id(layer) in self.used:
            raise unsupported(layer, "it is used more than once, with shared weights")
        self.used.add(id(layer))
        if isinstance(layer, _PREPROCESSING) or (_clips(layer) and sources[0] < 0):
            if len(sources) != 1 or sources[0] >= 0:
                raise unsupported(layer, "it is supported only directly behind an input")
            return sources[0]
        if len(set(sources)) < len(sources):
            raise unsupported(layer, "it reads the same layer twice")
        gene = _gene(layer, len(sources)) if own is None else own[0]
        if gene.is_identity and len(sources) == 1:
            return sources[0]
        self.layers.append(gene)
        self.sources.append(sources)
        return len(self.layers) - 1


def _clips(layer: Any) -> bool:
    """Return whether a layer limits values from 0 to 1, as the preprocessing of images does."""
    others = (getattr(layer, name, 0) for name in ("threshold", "negative_slope"))
    return isinstance(layer, keras.layers.ReLU) and layer.max_value == 1 and not any(others)


def _gene(layer: Any, inputs: int) -> Layer:
    if isinstance(layer, keras.layers.Add):
        return Activation("linear", join="add")
    if isinstance(layer, keras.layers.Concatenate):
        expect(layer, "axis", layer.axis in (-1, len(layer.output.shape) - 1))
        return Activation("linear")
    if inputs != 1:
        raise unsupported(layer, "there is no gene for this kind of joining layers")
    for kind in KINDS:
        if (gene := kind.read(layer)) is not None:
            if kind in KINDS:
                check_settings(gene, layer)
            return gene
    raise unsupported(layer, "there is no gene for this kind of layer")


def _layer_of(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _inputs_of(tensor: Any) -> list[Any]:
    """Return what a tensor is computed from; the gate of a tensor is not listed beside it."""
    history = tensor._keras_history
    if (own := read_own(tensor)) is not None:  # a user's kind may read a setting that ours do not know
        return [own[1]]
    if (gated := gated_tensor(history.operation)) is not None:
        return [gated]
    given = list(history.operation._inbound_nodes[history.node_index].input_tensors)
    if not isinstance(history.operation, _JOINING) or len(given) == 1:
        return given
    # a join crops by itself what is one pixel larger
    whole = [_inputs_of(t)[0] if isinstance(_layer_of(t), _CROPPING) else t for t in given]
    size = common_size([tuple(t.shape[1:]) for t in whole])
    return whole if size == tuple(tensor.shape[1:-1]) and all(map(_is_cropped_at_end, given)) else given


def _is_cropped_at_end(tensor: Any) -> bool:
    """Tell whether a Keras tensor is not cropped, or at the end of axes only."""
    layer = _layer_of(tensor)
    if not isinstance(layer, _CROPPING):
        return True
    each = layer.cropping if isinstance(layer.cropping[0], (tuple, list)) else (layer.cropping,)
    return all(before == 0 for before, _ in each)


def _below_head(model: keras.Model) -> Any:
    """Return the tensor that the model's head reads."""
    tensor = model.outputs[0]
    while isinstance(_layer_of(tensor), _AFTER_HEAD):
        tensor = _inputs_of(tensor)[0]
    head = _layer_of(tensor)
    pixelwise = isinstance(head, _CONVOLUTIONS) and set(head.kernel_size) == {1} and set(head.strides) == {1}
    if not (isinstance(head, keras.layers.Dense) or pixelwise):
        raise unsupported(head, "expected the last layer to be Dense, or a convolution of single pixels")
    return _inputs_of(tensor)[0]
