"""Genes that are several operations of Keras: a model in the model. Runs anywhere: its functions import Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Compute = Callable[[Any], Any]  # from a Keras tensor to one


def as_model(tensor: Any, name: str, compute: Compute) -> Any:
    """Apply a function made of Keras's operations as a model in the model, which a file holds like a layer."""
    import keras

    start = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name="start")
    return keras.Model(start, compute(start), name=name)(tensor)


def constants_of(layer: Any) -> list[tuple[str, list[Any]]]:
    """Return the operations of a model in a model, each with the constants that it reads beside tensors.

    It is empty for anything else.
    """
    if not hasattr(layer, "_nodes_by_depth") or len(layer.inputs) != 1:  # of functional models only
        return []
    return [(name, constants) for name, _, constants, _ in _described(layer)]


def is_made_by(layer: Any, compute: Compute) -> bool:
    """Tell whether a model in a model is what a function makes: all but names and initial values is equal."""
    import keras

    start = keras.Input(layer.inputs[0].shape[1:], dtype=layer.inputs[0].dtype)
    with keras.StatelessScope(initialize_variables=False):
        return _described(keras.Model(start, compute(start))) == _described(layer)


def _described(model: Any) -> list[tuple[str, list[int], list[Any], dict[str, Any]]]:
    """Return for each operation of a model its class, which tensors it reads, its constants and its settings."""
    place: dict[int, int] = {}
    found = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            others = ("name", "dtype", "trainable")
            config = {
                k: _plain(v)
                for k, v in node.operation.get_config().items()
                if k not in others and not k.endswith("_initializer")
            }
            read = [place[id(tensor)] for tensor in node.input_tensors]
            given = [*node.arguments.args, *(v for _, v in sorted(node.arguments.kwargs.items()))]
            constants = [_plain(v) for v in given if not hasattr(v, "_keras_history")]
            found.append((type(node.operation).__name__, read, constants, config))
            for tensor in node.outputs:
                place[id(tensor)] = len(place)
    return found


def _plain(value: Any) -> Any:
    """Return a constant such that those of a loaded model compare equal with those of a new one."""
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, slice):
        return ["slice", value.start, value.stop, value.step]
    return value.tolist() if hasattr(value, "tolist") else value
