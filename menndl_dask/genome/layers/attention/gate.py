"""Gates: an image is multiplied with numbers from 0 to 1 that are computed from it. Runs anywhere, Keras loads late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.layer import Seeds, Shape
from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    expect_image_layer,
    function_name,
    is_exactly,
    is_of,
    keras_class,
    rank_of,
    sizes,
    unsupported,
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


def gated_tensor(layer: Any) -> Any | None:
    """Return the tensor that a Keras layer multiplies with what is computed from it alone; None if it does not."""
    found = _gated(layer)
    return None if found is None else found[0]


def read_gate(layer: Any, first: Sequence[str] = ()) -> tuple[Any, int, int] | None:
    """Return the tensor, the kernels and the outputs of a gate that a Keras layer multiplies with; None if it has none.

    `first` are the classes of Keras of which the gate has one before its two layers with weights.
    """
    found = _gated(layer)
    if found is None:
        return None
    tensor, steps = found[0], [step for step in found[1] if not is_exactly(step, "Reshape")]
    if len(steps) != 2 + bool(first) or (first and not is_exactly(steps[0], *first)):
        return None
    squeeze, gate = steps[-2:]
    for step, activation in ((squeeze, "relu"), (gate, "sigmoid")):
        if not (is_exactly(step, "Dense") or is_of(step, "Conv")):
            raise unsupported(step, "there is no gene for a gate with this kind of layer")
        if function_name(step) != activation:
            raise unsupported(step, f"expected the activation {activation} in a gate, got {function_name(step)}")
        expect(step, "use_bias", step.use_bias)
        if not is_exactly(step, "Dense"):
            expect_image_layer(step)
            expect(step, "kernel_size", sizes(step.kernel_size) == (1,))
            expect(step, "strides", sizes(step.strides) == (1,))
            expect(step, "groups", step.groups == 1)
    return tensor, *(step.units if is_exactly(step, "Dense") else step.filters for step in (squeeze, gate))


def read_ratio(layer: Any, channels: int, kernels: int, known: Sequence[int]) -> int:
    """Return the ratio of the channels to the kernels of a gate, one of the `known` ones if possible."""
    fitting = [ratio for ratio in (*known, channels // kernels) if channels // ratio == kernels]
    if not fitting:
        raise unsupported(layer, f"a gate with {kernels} kernels for {channels} channels has no gene")
    return fitting[0]


def _gated(layer: Any) -> tuple[Any, list[Any]] | None:
    """Return the tensor that a Keras layer multiplies with a gate, and the layers of the gate in order."""
    if not is_exactly(layer, "Multiply") or len(layer._inbound_nodes[0].input_tensors) != 2:
        return None
    one, other = layer._inbound_nodes[0].input_tensors
    for tensor, made in ((other, one), (one, other)):
        steps: list[Any] = []
        while made is not tensor:
            history = made._keras_history
            before = history.operation._inbound_nodes[history.node_index].input_tensors
            if len(before) != 1:
                break
            steps.insert(0, history.operation)
            made = before[0]
        if made is tensor and steps:
            return tensor, steps
    return None
