"""Gates: an image is multiplied with numbers from 0 to 1 that are computed from it. Runs anywhere, Keras loads late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import (
    is_exactly,
    is_of,
    keras_class,
    keras_name,
    rank_of,
)
from menndl_dask.genome.layers.common.window import image_size


def squeezed(shape: Shape, ratio: int) -> int:
    """Return the number of kernels between an image and its gate.

    Raises
    ------
    InfeasibleError
        If the shape is not that of an image, or has fewer channels than `ratio`.
    """
    image_size(shape)
    if shape[-1] < ratio:
        raise InfeasibleError(f"expected at least {ratio} channels, got {shape[-1]}")
    return shape[-1] // ratio


def suited_ratio(ratio: int, channels: int, ratios: Sequence[int]) -> int:
    """Return the ratio, or the largest one of `ratios` that so few channels allow; itself if there is none."""
    possible = [each for each in ratios if each <= channels]
    return possible[-1] if possible and ratio > channels else ratio


def keras_gated(tensor: Any, start: Any, kernels: int, outputs: int, name: str, seeds: Seeds) -> Any:
    """Multiply a Keras tensor with a gate: two convolutions of single pixels that read `start`."""
    import keras

    kind = keras_class("Conv", rank_of(tensor))
    first, second = keras.initializers.HeNormal(seed=seeds()), keras.initializers.GlorotUniform(seed=seeds())
    gate = kind(kernels, 1, activation="relu", kernel_initializer=first, name=f"{name}_squeeze")(start)
    gate = kind(outputs, 1, activation="sigmoid", kernel_initializer=second, name=f"{name}_gate")(gate)
    return keras.layers.Multiply(name=name)([gate, tensor])


class Gate(NamedTuple):
    """What a gate of plain Keras is: the tensor that is multiplied, and the settings of its gene."""

    tensor: Any
    by_channel: bool  # computed from the means of all channels, else from each pixel
    ratio: int


def gated_tensor(layer: Any) -> Any | None:
    """Return the tensor that a Keras layer multiplies with a gate for which there is a gene; None if it does not."""
    found = read_gate(layer)
    return None if found is None else found.tensor


def read_gate(layer: Any) -> Gate | None:
    """Return the gate for which there is a gene and that a Keras layer multiplies with; None if there is none.

    Products of other gates are read layer by layer.
    """
    found = _gated(layer)
    if found is None:
        return None
    tensor, steps = found
    channels = int(tensor.shape[-1])
    by_channel = is_of(steps[0], "GlobalAveragePooling") and len(tensor.shape) > 2
    weighted = [step for step in steps[by_channel:] if not (by_channel and _is_reshape(step, channels))]
    if len(weighted) != 2 or not (_is_step(weighted[0], "relu") and _is_step(weighted[1], "sigmoid")):
        return None
    kernels, outputs = (step.units if is_exactly(step, "Dense") else step.filters for step in weighted)
    if outputs != (channels if by_channel else 1) or kernels > channels or (not by_channel and len(tensor.shape) < 3):
        return None
    fitting = [ratio for ratio in (2, 4, 8, 16, channels // kernels) if channels // ratio == kernels]
    return Gate(tensor, by_channel, fitting[0]) if fitting else None


def _is_step(step: Any, activation: str) -> bool:
    """Tell whether a Keras layer is a convolution of single pixels, or the like, as the genes of gates build it."""
    if not (is_exactly(step, "Dense") or is_of(step, "Conv")) or _is_limited(step):
        return False
    single = is_exactly(step, "Dense") or {*step.kernel_size, *step.strides, step.groups} == {1}
    last = getattr(step, "data_format", "channels_last") == "channels_last"
    return single and last and step.use_bias and keras_name(step.activation) == activation


def _is_limited(step: Any) -> bool:
    """Tell whether a Keras layer has regularisers or constraints, or is not trained."""
    ends = ("_regularizer", "_constraint")
    return not step.trainable or any(k.endswith(ends) and v is not None for k, v in step.get_config().items())


def _is_reshape(step: Any, channels: int) -> bool:
    """Tell whether a Keras layer only writes one pixel's channels with other axes before them."""
    shape = tuple(step.output.shape[1:])
    return is_exactly(step, "Reshape") and shape[-1] in (channels, step.input.shape[-1]) and set(shape[:-1]) <= {1}


def _gated(layer: Any) -> tuple[Any, list[Any]] | None:
    """Return the tensor that a Keras layer multiplies with what is computed from it alone, and the layers of that."""
    if not is_exactly(layer, "Multiply") or len(layer._inbound_nodes[0].input_tensors) != 2:
        return None
    one, other = layer._inbound_nodes[0].input_tensors
    for tensor, made in ((other, one), (one, other)):
        steps: list[Any] = []
        while made is not tensor:
            history = made._keras_history
            before = history.operation._inbound_nodes[history.node_index].input_tensors
            if len(before) != 1 or _readers(made) > 1:
                break
            steps.insert(0, history.operation)
            made = before[0]
        if made is tensor and steps:
            return tensor, steps
    return None


def _readers(tensor: Any) -> int:
    """Return how many layers read a Keras tensor."""
    nodes = tensor._keras_history.operation._outbound_nodes
    return sum(any(each is tensor for each in node.input_tensors) for node in nodes)
