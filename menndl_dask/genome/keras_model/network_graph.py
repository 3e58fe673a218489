"""The graph of a Keras model: all its layers as a list of steps, nested models included. Runs wherever Keras is.

Operations such as ``x + y`` or ``keras.ops.relu(x)`` are in a model's graph as they are. Here each is written as the
Keras layer that does the same, so that everything that follows knows layers only.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras.src.models.functional import Functional  # keras.Model makes one, and does not name it

from menndl_dask.errors import GenomeError, one_line, shortened
from menndl_dask.genome.keras_model.operations import layers_of_operation, rescaling
from menndl_dask.genome.keras_model.own_kinds import made_between, read_own
from menndl_dask.genome.keras_model.rewriting import as_dense, over_time
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import KINDS
from menndl_dask.genome.layers.common.keras_settings import is_exactly, unsupported

_RECURRENT = (
    "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "StackedRNNCells", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
)  # fmt: skip
_TOKENS = ("Embedding", "TextVectorization", "StringLookup", "IntegerLookup", "Hashing", "Masking")
_MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
_ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")
_DEEPEST = 50  # models in models


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One use of a Keras layer.

    Parameters
    ----------
    layer
        The Keras layer. `layer.input` is a tensor of the shape that it reads here.
    sources
        What it reads: indices of earlier steps, or ``-1 - v`` for the model's input ``v``.
    shapes
        Of what it reads, without the batch; None where a size is open.
    shape
        Of its output, likewise.
    owner
        The layer of the model that has the weights, and that messages name.
    own
        The gene of a user's kind, if one was found. Then there is no `layer`, and `parts` are the layers that the gene
        stands for.
    """

    layer: Any
    sources: tuple[int, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    shape: tuple[int | None, ...]
    owner: Any
    own: Layer | None = None
    parts: tuple[Any, ...] = ()


@dataclass(slots=True)
class Graph:
    """The steps of a model in an order where each comes after what it reads, and the index of the last one.

    `notes` say what a genome has no place for and that makes no difference to predictions.
    """

    inputs: list[tuple[int | None, ...]]
    steps: list[Step] = field(default_factory=list)
    output: int = -1
    notes: list[str] = field(default_factory=list)
    used: set[int] = field(default_factory=set)

    def shape(self, node: int) -> tuple[int | None, ...]:
        """Return the shape of a step's output, or of an input where the index is negative."""
        return self.steps[node].shape if node >= 0 else self.inputs[-1 - node]

    def note(self, layer: Any, what: str) -> None:
        """Say once what becomes of a layer."""
        text = f"layer {layer.name!r} ({type(layer).__name__}): {what}"
        if text not in self.notes:
            self.notes.append(text)

    def add(self, layer: Any, sources: Sequence[int], owner: Any = None) -> int:
        """Add a step for a layer that was not called yet, and return its index."""
        shapes = tuple(self.shape(s) for s in sources)
        made = _called(layer, shapes, layer if owner is None else owner)
        return self.insert(
            Step(layer, tuple(sources), shapes, tuple(made.shape[1:]), layer if owner is None else owner)
        )

    def insert(self, step: Step) -> int:
        """Add a step, and return its index."""
        self.steps.append(step)
        return len(self.steps) - 1


def graph_of(model: Any) -> Graph:
    """Return the graph of a functional or sequential model.

    Raises
    ------
    GenomeError
        If it is not a model, or has a layer or an argument of a layer that cannot be a gene.
    """
    if not isinstance(model, keras.Model):
        is_class = isinstance(model, type)
        got = f"the class {model.__name__}" if is_class else f"{type(model).__name__} {shortened(repr(model), 200)}"
        raise GenomeError(f"expected a Keras model, got {got}")
    function = _function(model)
    if len(function.outputs) != 1:
        names = ", ".join(repr(t._keras_history.operation.name) for t in function.outputs)
        got = f"got {len(function.outputs)}: {names}; make a model of one of them"
        raise GenomeError(f"model {model.name!r}: expected one output, {got}")
    graph = Graph([tuple(tensor.shape[1:]) for tensor in function.inputs])
    graph.output = _inline(graph, function, [-1 - v for v in range(len(function.inputs))], 0)[0]
    return graph


def _function(model: Any) -> Any:
    """Return the functional model with the layers of a model."""
    if isinstance(model, keras.Sequential):
        model = model._functional
        if model is None:
            raise GenomeError("sequential model: expected a built one; begin it with keras.Input")
    plain = getattr(type(model), "call", None) is Functional.call
    if not plain:
        raise unsupported(model, "a model with a method call of its own hides its layers; expected a functional one")
    return model


def _inline(graph: Graph, function: Any, given: Sequence[int], depth: int, *, timed: bool = False) -> list[int]:
    """Add the steps of a functional model that reads these nodes, and return the nodes of its outputs.

    `timed` means that it reads each part of a sequence.
    """
    if depth > _DEEPEST:
        raise unsupported(function, f"expected models in models at most {_DEEPEST} deep")
    found = {id(tensor): node for tensor, node in zip(function.inputs, given, strict=True)}
    nodes = [
        node for level in sorted(function._nodes_by_depth, reverse=True) for node in function._nodes_by_depth[level]
    ]
    own, inside = ({}, set()) if timed else _of_users(nodes)
    for node in nodes:
        tensors = node.outputs
        if node.is_input or id(tensors[0]) in inside or all(id(tensor) in found for tensor in tensors):
            continue
        if id(tensors[0]) in own:
            gene, entry, parts = own[id(tensors[0])]
            source, last = found[id(entry)], node.operation
            shape = tuple(tensors[0].shape[1:])
            made = [graph.insert(Step(None, (source,), (graph.shape(source),), shape, last, gene, parts))]
        else:
            sources = [found[id(tensor)] for tensor in node.input_tensors]
            made = _add_timed(graph, node, sources, depth) if timed else _add(graph, node, sources, depth)
        found.update((id(tensor), each) for tensor, each in zip(tensors, made, strict=True))
    return [found[id(tensor)] for tensor in function.outputs]


def _of_users(nodes: Sequence[Any]) -> tuple[dict[int, tuple[Layer, Any, tuple[Any, ...]]], set[int]]:
    """Return the tensors that are made by genes of users' kinds, and the tensors between their layers.

    With each gene there are the tensor that it reads and the layers that it stands for.
    """
    own: dict[int, tuple[Layer, Any, tuple[Any, ...]]] = {}
    inside: set[int] = set()
    for node in reversed(nodes):
        tensor = node.outputs[0]
        if not node.is_input and id(tensor) not in inside and (read := read_own(tensor)) is not None:
            parts = (made_between(tensor, read[1]) or [])[::-1]
            own[id(tensor)] = (*read, tuple(parts))
            inside.update(id(t) for part in parts for made in part._inbound_nodes for t in made.outputs)
            inside.discard(id(tensor))
    return own, inside


def _add(graph: Graph, node: Any, sources: list[int], depth: int) -> list[int]:
    """Add the steps of one node of a model's graph, and return the nodes of its outputs."""
    layer = node.operation
    _check_kind(layer, node)
    if not isinstance(layer, keras.Layer):
        sources = sources * 2 if type(layer).__name__ == "Square" else sources
        return [_chain(graph, layers, sources, layer) for layers in layers_of_operation(node)]
    _check_arguments(graph, node)
    if type(layer).__name__ == "CustomScaleLayer" and type(layer).__module__.startswith("keras.src.applications"):
        scaled = graph.add(rescaling(layer.scale, 0.0), sources[1:], layer)  # of Inception-ResNet
        return [graph.add(keras.layers.Add(), [sources[0], scaled], layer)]
    if isinstance(layer, keras.Model):
        alone = len(sources) == 1 and type(layer) is Functional
        genes = [gene for kind in KINDS if alone and (gene := kind.read(layer)) is not None]
        if genes:  # a gene that is several operations
            shape = tuple(node.outputs[0].shape[1:])
            return [
                graph.insert(Step(None, tuple(sources), (graph.shape(sources[0]),), shape, layer, genes[0], (layer,)))
            ]
        return _inline(graph, _function(layer), _in_order(layer, node, sources), depth + 1)
    if is_exactly(layer, "Identity"):
        return sources
    if is_exactly(layer, "ActivityRegularization"):
        graph.note(layer, "it makes a difference to the loss only, which the problem determines")
        return sources
    if is_exactly(layer, "TimeDistributed"):
        return [_over_time(graph, layer.layer, sources, depth)]
    if is_exactly(layer, *_ATTENTION) and len(set(sources)) == 1:
        sources = sources[:1]  # query, value and key
    if is_exactly(layer, *_MERGING):
        sources = _of_one_rank(graph, layer, sources)
    shape = tuple(node.outputs[0].shape[1:])
    if is_exactly(layer, "EinsumDense") and (dense := as_dense(layer, graph.shape(sources[0]), shape)) is not None:
        return [_chain(graph, dense, sources, layer)]
    return [_add_layer(graph, layer, node, sources)]


def _add_timed(graph: Graph, node: Any, sources: list[int], depth: int) -> list[int]:
    """Add the steps of one node of a model within `TimeDistributed`."""
    if not isinstance(node.operation, keras.Layer):
        raise unsupported(node.operation, "there is no gene for this operation within TimeDistributed")
    _check_arguments(graph, node)
    return [_over_time(graph, node.operation, sources, depth)]


def _over_time(graph: Graph, layer: Any, sources: list[int], depth: int) -> int:
    """Add the steps of a layer or model that reads each part of a sequence, and return the last one."""
    if isinstance(layer, keras.Model):
        function = _function(layer)
        if len(function.inputs) != 1 or len(function.outputs) != 1:
            raise unsupported(layer, "expected one input and one output within TimeDistributed")
        return _inline(graph, function, sources, depth + 1, timed=True)[0]
    if is_exactly(layer, "Identity", "InputLayer"):
        return sources[0]
    _say_used(graph, layer)
    made = over_time(layer, graph.shape(sources[0]))
    first = graph.add(made[0], sources, layer)
    return _chain(graph, made[1:], [first], layer)


def _chain(graph: Graph, layers: Sequence[Any], sources: list[int], owner: Any) -> int:
    """Add layers that read each the one before, and return the last one."""
    for each in layers:
        sources = [graph.add(each, sources, owner)]
    return sources[0]


def _check_kind(layer: Any, node: Any) -> None:
    """Refuse what no gene is for, whatever its settings."""
    if is_exactly(layer, *_RECURRENT):
        raise unsupported(layer, "it goes along a sequence step by step; genes are of networks of images")
    if is_exactly(layer, *_TOKENS):
        raise unsupported(layer, "it reads words or numbers of things; genes are of networks of images")
    if is_exactly(layer, "Lambda"):
        raise unsupported(layer, "a function of your own has no gene; write it as a keras.Layer and a gene kind")
    if len(node.outputs) != 1 and isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model):
        raise unsupported(layer, f"expected one output, got {len(node.outputs)}")


def _check_arguments(graph: Graph, node: Any) -> None:
    """Refuse arguments of a layer's call that make a difference, beside tensors."""
    layer = node.operation
    signature = inspect.signature(layer.call)
    try:
        given = signature.bind(*node.arguments.args, **node.arguments.kwargs).arguments
    except TypeError:  # a layer with a call that takes anything
        given = dict(enumerate(node.arguments.args)) | node.arguments.kwargs
    for name, value in given.items():
        default = signature.parameters[name].default if name in signature.parameters else None
        flat = keras.tree.flatten(value)
        if all(each is None or isinstance(each, keras.KerasTensor) for each in flat) or value is default:
            continue
        if value == default:
            continue
        if name == "training" and value is False:
            graph.note(layer, "training=False is left out: it is trained like the other layers")
            continue
        raise unsupported(layer, f"the argument {name}={shortened(repr(value))} of its call has no gene")


def _in_order(model: Any, node: Any, sources: list[int]) -> list[int]:
    """Return what a model in a model reads, in the order of its inputs."""
    given = node.arguments.args[0] if node.arguments.args else next(iter(node.arguments.kwargs.values()))
    if not isinstance(given, dict) or isinstance(model._inputs_struct, dict):
        return sources
    place = {id(tensor): source for tensor, source in zip(node.input_tensors, sources, strict=True)}
    return [place[id(given[tensor._keras_history.operation.name])] for tensor in model.inputs]


def _of_one_rank(graph: Graph, layer: Any, sources: list[int]) -> list[int]:
    """Return what a merging layer reads, features as an image of one pixel where it reads images, too."""
    most = max(len(graph.shape(s)) for s in sources)
    return [
        s
        if len(graph.shape(s)) == most
        else graph.add(keras.layers.Reshape((1,) * (most - len(graph.shape(s))) + graph.shape(s)), [s], layer)
        for s in sources
    ]


def _add_layer(graph: Graph, layer: Any, node: Any, sources: Sequence[int]) -> int:
    """Add the step of a layer; where it is used again, of one with its settings."""
    shapes = tuple(graph.shape(s) for s in sources)
    shape = tuple(node.outputs[0].shape[1:])
    again = _say_used(graph, layer)
    function = getattr(layer, "activation", None)
    as_layer = isinstance(function, keras.Layer) and not is_exactly(layer, "Activation")
    first = layer._inbound_nodes[0] is node and shapes == tuple(tuple(t.shape[1:]) for t in _read(node, sources))
    if first and not again and not as_layer:
        return graph.insert(Step(layer, tuple(sources), shapes, shape, layer))
    if not as_layer:
        return graph.add(copied(layer), sources, layer)
    made = graph.add(copied(layer, activation=None), sources, layer)
    return graph.add(copied(function), [made], function)


def _say_used(graph: Graph, layer: Any) -> bool:
    """Return whether a layer was used before, and note that it becomes several with weights."""
    again = id(layer) in graph.used
    graph.used.add(id(layer))
    if again and layer.weights:
        graph.note(layer, "it is used again: each use becomes a layer of its own, with weights of its own")
    return again


def _read(node: Any, sources: Sequence[int]) -> list[Any]:
    return node.input_tensors[: len(sources)]  # type: ignore[no-any-return]


def copied(layer: Any, **changes: Any) -> Any:
    """Return a Keras layer of the same class and settings, not built."""
    try:
        return type(layer).from_config(layer.get_config() | changes)
    except Exception as error:  # a layer of a user raises what it likes
        raise unsupported(layer, one_line(error)) from error


def _called(layer: Any, shapes: Sequence[tuple[int | None, ...]], owner: Any) -> Any:
    """Call a new layer on inputs of these shapes, without making its weights, and return its output."""
    inputs = [keras.Input(shape) for shape in shapes]
    try:
        with keras.StatelessScope(initialize_variables=False):
            if is_exactly(layer, *_ATTENTION):
                return layer(*inputs * 2)
            return layer(inputs if len(inputs) > 1 or is_exactly(layer, *_MERGING) else inputs[0])
    except Exception as error:  # Keras raises what it likes
        raise unsupported(owner, one_line(error)) from error
