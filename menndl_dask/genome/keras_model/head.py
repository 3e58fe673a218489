"""The head of a Keras model: its last layer with weights, which the problem determines. Runs wherever Keras is.

`decode` ends a network with global average pooling and a fully connected layer, or, for segmentation, with a
convolution of single pixels that is enlarged to the size of the image. A model's own end is left out only where this
is the same function: multiplying the channels of each pixel with weights may come before or after what only averages,
repeats or leaves out pixels. Any other end stays in the genome, and `decode` adds its head behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from menndl_dask.genome.keras_model.network_graph import Graph, Step, copied
from menndl_dask.genome.layers.common.keras_settings import is_exactly, is_of, sizes

_ANSWERS = ("softmax", "sigmoid", "linear")


@dataclass(slots=True)
class Head:
    """What a model ends with.

    Parameters
    ----------
    below
        The node of the graph that the head reads.
    step
        The layer with weights; None if the model ends with another layer, which stays in the genome.
    function
        The activation behind it.
    scale, offset
        By which the answer is multiplied, and what is added to it then.
    """

    below: int
    step: Step | None
    function: str = "linear"
    scale: Any = 1.0
    offset: Any = 0.0

    def weights(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return its weights of shape ``(features, outputs)`` and its bias, both before the activation.

        None if the layers' own head is not left out: then one that changes no value does the same.
        """
        if self.step is None:
            return None
        arrays = [np.asarray(weight.numpy()) for weight in self.step.owner.weights]
        kernel = arrays[0].reshape(-1, arrays[0].shape[-1])
        bias = arrays[1] if len(arrays) > 1 else np.zeros(kernel.shape[-1], kernel.dtype)
        return kernel * np.asarray(self.scale, kernel.dtype), (bias * self.scale + self.offset).astype(kernel.dtype)


def head_of(graph: Graph) -> Head:
    """Find the head of a model; layers that come after it are moved before it where they are not part of every head."""
    end, tip = Head(graph.output, None), graph.output
    while tip >= 0 and _answers(step := graph.steps[tip], end):
        tip = step.sources[0]
    moved: list[Step] = []
    while tip >= 0 and _moves_pixels(graph.steps[tip]):
        moved.insert(0, graph.steps[tip])
        tip = graph.steps[tip].sources[0]
    if tip < 0 or not _is_head(graph.steps[tip], bool(moved)):
        return _added(graph)
    step = graph.steps[tip]
    end.step = step
    end.function = _own_function(step) if _own_function(step) != "linear" else end.function
    end.below = step.sources[0]
    if not (is_exactly(step.layer, "Dense") or set(sizes(step.layer.kernel_size)) == {1}):
        end.below = graph.add(keras.layers.Flatten(), [end.below], step.owner)  # as large as the image
    for each in _not_in_every_head(graph, moved):
        end.below = graph.add(copied(each.layer), [end.below], each.owner)
    return end


def _added(graph: Graph) -> Head:
    """Return the end of a model whose layers all stay in the genome."""
    end, tip = Head(graph.output, None), graph.output
    while tip >= 0 and _function(graph.steps[tip]) in _ANSWERS:
        step = graph.steps[tip]
        end.function = (_function(step) or "") if end.function == "linear" else end.function
        tip = step.sources[0]
    if tip >= 0:
        last = graph.steps[tip]
        graph.note(last.owner, "it stays in the genome, because it is not a head like those of decode, which adds one")
        own = getattr(last.layer, "activation", None)
        function = None if own is None or isinstance(own, keras.Layer) else keras.activations.serialize(own)
        if end.function == "linear" and function in ("softmax", "sigmoid"):  # the answer's, which the new head gives
            end.function = function
            tip = graph.add(copied(last.layer, activation="linear"), last.sources, last.owner)
    end.below = tip
    return end


def _function(step: Step) -> str | None:
    """Return the activation function that a layer is and has no settings for; None if it is another layer."""
    if is_exactly(step.layer, "Softmax"):
        axis = step.layer.axis
        return "softmax" if axis in (-1, len(step.shape)) else None
    if not is_exactly(step.layer, "Activation"):
        return None
    name = keras.activations.serialize(step.layer.activation)
    return name if isinstance(name, str) else None


def _answers(step: Step, end: Head) -> bool:
    """Tell whether a layer only changes the unit or the range of an answer, and note in the end how."""
    if is_exactly(step.layer, "Rescaling") and end.function == "linear":
        scale, offset = np.asarray(step.layer.scale), np.asarray(step.layer.offset)
        end.scale, end.offset = scale * end.scale, offset * end.scale + end.offset
        return True
    function = _function(step)
    if function is None or np.any(np.asarray(end.scale) != 1) or np.any(end.offset):
        return False
    if function != "linear":
        if end.function != "linear":
            return False
        end.function = function
    return True


def _moves_pixels(step: Step) -> bool:
    """Tell whether a layer averages, repeats or leaves out pixels, each channel alike, and so commutes with a head."""
    layer, before, after = step.layer, step.shapes[0], step.shape
    if len(step.sources) != 1 or getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    if is_exactly(layer, "Reshape", "Flatten"):
        return before[-1:] == after[-1:]
    if is_exactly(layer, "Resizing"):
        return not (layer.pad_to_aspect_ratio or layer.crop_to_aspect_ratio)
    return any(is_of(layer, stem) for stem in ("UpSampling", "Cropping", "AveragePooling", "GlobalAveragePooling"))


def _own_function(step: Step) -> str:
    name = keras.activations.serialize(step.layer.activation)
    return name if isinstance(name, str) else "?"


def _is_head(step: Step, moved: bool) -> bool:
    """Tell whether a layer multiplies the channels of each pixel, or all features, with weights."""
    layer = step.layer
    if is_exactly(layer, "Dense"):
        fits = True
    elif is_of(layer, "Conv") and layer.data_format == "channels_last" and layer.groups == 1:
        plain = set(layer.strides) == {1} or set(step.shape[:-1]) == {1}
        pixels = set(layer.kernel_size) == {1} and set(layer.strides) == {1}
        whole = tuple(layer.kernel_size) == step.shapes[0][:-1] and layer.padding == "valid" and plain
        fits = pixels or whole
    else:
        return False
    return fits and (not moved or _own_function(step) == "linear")


def _not_in_every_head(graph: Graph, moved: list[Step]) -> list[Step]:
    """Return the layers between the head and the answer that `decode` does not add by itself."""
    kept = [step for step in moved if not is_exactly(step.layer, "Reshape", "Flatten")]
    if kept and is_of(kept[-1].layer, "GlobalAveragePooling"):
        return kept[:-1]
    if len(kept) == 1 and _is_surplus(graph, kept[0]):
        return []
    if not kept or not is_of(kept[0].layer, "UpSampling"):
        return kept
    # the head enlarges a whole number of times, and leaves out the last pixels
    enlarging, rank = kept[0], len(kept[0].shape) - 1
    usual = getattr(enlarging.layer, "interpolation", "nearest") == ("bilinear" if rank == 2 else "nearest")
    size = graph.inputs[0][:-1]
    if not usual or len(size) != rank:
        return kept
    if None in size or None in enlarging.shapes[0]:
        return kept if len(kept) > 1 else []
    factors = tuple(-(-(n or 0) // (m or 1)) for n, m in zip(size, enlarging.shapes[0], strict=False))
    alike = factors == tuple(int(f) for f in np.broadcast_to(enlarging.layer.size, rank))
    cropped = len(kept) == 1 or (len(kept) == 2 and is_of(kept[1].layer, "Cropping") and _is_at_end(kept[1].layer))
    return [] if alike and cropped and moved[-1].shape[:-1] == size else kept


def _is_surplus(graph: Graph, step: Step) -> bool:
    """Tell whether a layer leaves out the last pixel of an answer that is one pixel larger than the image."""
    size, before = graph.inputs[0][:-1], step.shapes[0][:-1]
    if not is_of(step.layer, "Cropping") or not _is_at_end(step.layer) or step.shape[:-1] != size:
        return False
    return all((n or 0) <= (m or 0) + 1 for n, m in zip(before, size, strict=True))


def _is_at_end(cropping: Any) -> bool:
    """Tell whether a cropping layer leaves out the last pixels only."""
    each = cropping.cropping if isinstance(cropping.cropping[0], (tuple, list)) else (cropping.cropping,)
    return all(before == 0 for before, _ in each)
