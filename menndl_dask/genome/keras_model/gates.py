"""Gates in the graph of a Keras model: several layers that one gene stands for. Runs wherever Keras is.

A gate multiplies a tensor with numbers that are computed from it, see `menndl_dask.genome.layers.attention`. People
write it with `Dense` or with convolutions of single pixels, and with or without reshaping.
"""

from __future__ import annotations

import re
from typing import Any

import keras

from menndl_dask.genome.keras_model.network_graph import Graph, Step
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import AttentionGate, SqueezeExcitation
from menndl_dask.genome.layers.attention.gate import usual_ratio
from menndl_dask.genome.layers.common.keras_settings import is_exactly, is_of

_OF_A_GENE = re.compile(r"layer\d+")  # the names that decode gives to the only layer of a gene


def gates_of(graph: Graph) -> dict[int, tuple[Layer, int, tuple[Step, ...]]]:
    """Find the steps that multiply with a gate for which there is a gene.

    Returns for each of them that gene, the node that it reads, and the steps with its weights.
    """
    readers: dict[int, int] = {}
    for step in graph.steps:
        for source in step.sources:
            readers[source] = readers.get(source, 0) + 1
    found = {}
    for i, step in enumerate(graph.steps):
        if is_exactly(step.layer, "Multiply") and len(set(step.sources)) == 2:
            one, other = step.sources
            for tensor, end in ((one, other), (other, one)):
                if (path := _path(graph, tensor, end, readers)) and (gate := _gate(graph, tensor, path)):
                    found[i] = (gate[0], tensor, gate[1])
    return found


def _path(graph: Graph, tensor: int, end: int, readers: dict[int, int]) -> list[int]:
    """Return the steps from a node to another one that all read only the one before; empty if there are none."""
    path: list[int] = []
    while end != tensor:
        if end < 0 or len(graph.steps[end].sources) != 1 or readers[end] != 1:
            return []
        path.insert(0, end)
        end = graph.steps[end].sources[0]
    return path


def _gate(graph: Graph, tensor: int, path: list[int]) -> tuple[Layer, tuple[Step, ...]] | None:
    """Return the gene of a gate that is computed from a node by these steps, and those with its weights."""
    steps, shape = [graph.steps[i] for i in path], graph.shape(tensor)
    channels = int(shape[-1] or 0)
    by_channel = is_of(steps[0].layer, "GlobalAveragePooling")
    weighted = [step for step in steps[by_channel:] if not (by_channel and _is_reshape(step))]
    if len(shape) < 2 or len(weighted) != 2 or not all(map(_is_pixelwise, weighted)):
        return None
    if [_function(step) for step in weighted] != ["relu", "sigmoid"]:
        return None
    kernels, outputs = (int(step.shape[-1] or 0) for step in weighted)
    if outputs != (channels if by_channel else 1):
        return None
    ratio = usual_ratio(channels, kernels)
    if ratio is None:
        return None
    return (SqueezeExcitation(ratio) if by_channel else AttentionGate(ratio)), tuple(weighted)


def _is_pixelwise(step: Step) -> bool:
    """Tell whether a layer is a convolution of single pixels with a bias, or does the same."""
    layer = step.layer
    if _OF_A_GENE.fullmatch(step.owner.name) or not (is_exactly(layer, "Dense") or is_of(layer, "Conv")):
        return False
    single = is_exactly(layer, "Dense") or {*layer.kernel_size, *layer.strides, layer.groups} == {1}
    return single and layer.use_bias and getattr(layer, "data_format", "channels_last") == "channels_last"


def _function(step: Step) -> Any:
    return keras.activations.serialize(step.layer.activation)


def _is_reshape(step: Step) -> bool:
    """Tell whether a layer only writes the channels of one pixel with other axes before them."""
    return is_exactly(step.layer, "Reshape", "Flatten") and step.shape[-1:] == step.shapes[0][-1:]
