"""Axes: writes models whose layers compute along other axes as genes do, the channels last. Runs wherever Keras is.

Where images have the channels first, layers that know it get another setting. Before any other layer the axes are
brought into the model's order, and behind it into the genes' again, so that it computes the same. Likewise a layer
along another axis than the last one, such as a concatenation of pixels, reads that axis as the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from menndl_dask.genome.keras_model.network_graph import Graph, Step, copied
from menndl_dask.genome.layers.common.keras_settings import is_exactly, is_operation, keras_name, unsupported

_FIRST, _LAST = "channels_first", "channels_last"
_EACH_VALUE = (  # by itself
    "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    "Rescaling", "Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract",
)  # fmt: skip
_ALONG_AN_AXIS = (
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "Softmax", "Concatenate",
)  # fmt: skip
_OF_CHANNELS = ("softmax", "log_softmax", "sparsemax")  # functions
Shape = tuple[int | None, ...]


def with_channels_last(graph: Graph) -> Graph:
    """Return the graph with the channels last, which is the graph itself unless a layer has them first.

    Raises
    ------
    GenomeError
        If a user's layer is among them; the message names the layer.
    """
    first = next((s.owner for s in graph.steps if getattr(s.layer, "data_format", _LAST) == _FIRST), None)
    if first is None:
        return graph
    made = Graph([_moved(shape) for shape in graph.inputs], notes=graph.notes)
    made.note(first, "the model reads images with the channels first, and the network with the channels last")
    found = {-1 - v: -1 - v for v in range(len(graph.inputs))}
    for i, step in enumerate(graph.steps):
        found[i] = _add(made, step, [found[s] for s in step.sources])
    made.output = found[graph.output]
    return made


def with_axes_last(graph: Graph) -> Graph:
    """Return the graph with each layer along the last axis, which is the graph itself if that is how it is."""
    if all(_axis(step) is None for step in graph.steps):
        return graph
    made = Graph(graph.inputs, notes=graph.notes)
    found = {-1 - v: -1 - v for v in range(len(graph.inputs))}
    for i, step in enumerate(graph.steps):
        sources, axis, rank = tuple(found[s] for s in step.sources), _axis(step), len(step.shape)
        if axis is None:
            found[i] = made.insert(replace(step, sources=sources))
            continue
        order = list(range(1, rank + 1))
        order[axis - 1], order[-1] = order[-1], order[axis - 1]
        given = [made.add(keras.layers.Permute(order), [s], step.owner) for s in sources]
        tip = made.add(copied(step.layer, axis=-1), given, step.owner)
        found[i] = made.add(keras.layers.Permute(order), [tip], step.owner)
    made.output = found[graph.output]
    return made


def _axis(step: Step) -> int | None:
    """Return the axis along which a layer computes, counted from 1, if it is another than the last one."""
    axis = getattr(step.layer, "axis", None) if is_exactly(step.layer, *_ALONG_AN_AXIS) else None
    axes, rank = list(axis) if isinstance(axis, (list, tuple)) else [axis], len(step.shape)
    if len(axes) != 1 or not isinstance(axes[0], int) or axes[0] % (rank + 1) in (0, rank):
        return None
    return axes[0] % (rank + 1)


def _moved(shape: Shape) -> Shape:
    """Return a shape with the first axis as the last one."""
    return (*shape[1:], *shape[:1])


def _add(graph: Graph, step: Step, sources: Sequence[int]) -> int:
    """Add a step with the channels last, and return its index."""
    if step.own is not None:
        raise unsupported(step.owner, f"data_format={_FIRST!r} of other layers has no gene beside your gene kinds")
    if (changes := _changes(step)) is not None:
        return graph.add(copied(step.layer, **changes), sources, step.owner)
    shapes, rank = [len(shape) for shape in step.shapes], len(step.shape)
    orders = [(axes, *range(1, axes)) for axes in shapes]
    given = [
        graph.add(keras.layers.Permute(order), [s], step.owner) if len(order) > 1 else s
        for s, order in zip(sources, orders, strict=True)
    ]
    tip = graph.add(copied(step.layer), given, step.owner)
    return graph.add(keras.layers.Permute((*range(2, rank + 1), 1)), [tip], step.owner) if rank > 1 else tip


def _changes(step: Step) -> dict[str, Any] | None:
    """Return the settings with which a layer does the same with the channels last; None if there are none."""
    layer, rank = step.layer, len(step.shape)
    if max(rank, *map(len, step.shapes)) == 1 or _is_of_each_value(layer):
        return {}
    if getattr(layer, "data_format", None) == _FIRST:
        return {"data_format": _LAST}
    if is_exactly(layer, "PReLU") and sorted(layer.shared_axes or ()) == list(range(2, rank + 1)):
        return {"shared_axes": list(range(1, rank))}
    return {"axis": -1} if _axis(step) == 1 else None


def _is_of_each_value(layer: Any) -> bool:
    """Tell whether a layer treats each value by itself, wherever it is in a tensor."""
    if is_operation(layer, "Gelu", "Elu", "Celu"):
        return True
    if is_exactly(layer, "Activation"):
        return keras_name(layer.activation) not in _OF_CHANNELS
    plain = np.size(getattr(layer, "scale", 0)) == np.size(getattr(layer, "offset", 0)) == 1
    return is_exactly(layer, *_EACH_VALUE) and getattr(layer, "noise_shape", None) is None and plain
