"""Operations in a model's graph, such as ``x + y``, as the Keras layers that do the same. Runs wherever Keras is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.ops.numpy import Max as _Max  # keras.ops.max makes one, and does not name it
from keras.src.ops.numpy import Mean as _Mean

from menndl_dask.genome.layers.common.keras_settings import keras_class, unsupported

_MERGING = {
    "Add": keras.layers.Add,
    "Subtract": keras.layers.Subtract,
    "Multiply": keras.layers.Multiply,
    "Maximum": keras.layers.Maximum,
    "Minimum": keras.layers.Minimum,
}
_FUNCTIONS = (  # without settings: the name of the activation function is that of the operation
    "relu", "relu6", "sigmoid", "softplus", "softsign", "silu", "log_sigmoid", "hard_sigmoid", "hard_silu", "selu",
    "tanh", "tanh_shrink", "hard_tanh", "sparse_plus", "mish", "sparse_sigmoid",
)  # fmt: skip
_OTHER_NAMES = {"exp": "exponential"}
_SPATIAL = (1, 2, 3)


def layers_of_operation(node: Any) -> list[list[Any]]:
    """Return for each output of an operation new Keras layers that do together, one after the other, what it does.

    The first one reads the tensors of the operation, in their order. There are none where it changes no value. An
    operation that no layer does, but a gene, is returned itself, anew.

    Raises
    ------
    GenomeError
        If no layers of Keras do the same; the message names the operation.
    """
    if type(node.operation).__name__ == "Split":
        return _split(node.operation, node)
    return [_layers(node.operation, node)]


def _layers(operation: Any, node: Any) -> list[Any]:
    """Return the layers that do what an operation with one output does."""
    name = type(operation).__name__
    if len(node.outputs) != 1:
        raise unsupported(operation, f"expected one output, got {len(node.outputs)}")
    if name in (*_MERGING, "Divide", "TrueDivide"):
        return _arithmetic(operation, name, node)
    written = _OTHER_NAMES.get(_snake(name), _snake(name))
    if written in (*_FUNCTIONS, *_OTHER_NAMES.values()):
        return [keras.layers.Activation(written, name=operation.name)]
    if name not in _WITH_SETTINGS:
        raise unsupported(operation, "there is no gene for this operation")
    return _WITH_SETTINGS[name](operation, node)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _values(node: Any) -> list[Any]:
    """Return the arguments of an operation's call, tensors and constants."""
    return [*node.arguments.args, *node.arguments.kwargs.values()]


def _shape(node: Any) -> tuple[Any, ...]:
    return tuple(node.input_tensors[0].shape)


def _arithmetic(operation: Any, name: str, node: Any) -> list[Any]:
    """Return a layer that joins tensors, or that scales one where the other operand is constant."""
    left, right = _values(node)[:2]
    if len(node.input_tensors) == 2:
        if name not in _MERGING:
            raise unsupported(operation, "there is no gene that divides by a tensor")
        if len(left.shape) != len(right.shape):
            raise unsupported(operation, f"expected tensors of as many axes, got {left.shape} and {right.shape}")
        return [_MERGING[name](name=operation.name)]
    constant_first = not isinstance(left, keras.KerasTensor)
    constant = _constant(operation, left if constant_first else right, len(_shape(node)))
    if name in ("Maximum", "Minimum"):
        if name == "Minimum" or np.any(constant):
            raise unsupported(operation, f"there is no gene for a limit of {constant}")
        return [keras.layers.ReLU(name=operation.name)]
    if constant_first and name in ("Divide", "TrueDivide"):
        raise unsupported(operation, "there is no gene that divides by a tensor")
    scale, offset = {
        "Add": (1.0, constant),
        "Subtract": (-1.0, constant) if constant_first else (1.0, -constant),
        "Multiply": (constant, 0.0),
    }.get(name, (1 / constant, 0.0))
    return [rescaling(scale, offset, operation.name)]


def rescaling(scale: Any, offset: Any, name: str | None = None) -> Any:
    """Return a Keras layer that multiplies with numbers and adds others, one of each for all channels or for each."""
    plain = (np.asarray(each, float).tolist() for each in (scale, offset))
    return keras.layers.Rescaling(*plain, name=name)


def _constant(operation: Any, value: Any, axes: int) -> Any:
    """Return a constant operand: a number, or an array with one for each channel."""
    if isinstance(value, keras.Variable):
        raise unsupported(operation, f"it reads the weights {value.name!r}, which belong to no layer")
    array = np.asarray(value, float)
    if array.size == 1:
        return array.reshape(())[()]
    if array.ndim > axes or array.shape[-1] != array.size:
        expected = "expected a number, or one for each channel"
        raise unsupported(operation, f"{expected}, got an array of shape {array.shape}")
    return array.reshape(-1)


def _negative(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.Rescaling(-1.0, name=operation.name)]


def _square(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.Multiply(name=operation.name)]  # which reads it twice


def _no_change(operation: Any, node: Any) -> list[Any]:
    return []


def _cast(operation: Any, node: Any) -> list[Any]:
    if not keras.backend.is_float_dtype(operation.dtype):
        raise unsupported(operation, f"dtype={operation.dtype!r} has no gene")
    return []


def _relu(operation: Any, node: Any) -> list[Any]:
    settings = {name: getattr(operation, name) for name in ("negative_slope", "max_value", "threshold")}
    return [keras.layers.ReLU(**settings, name=operation.name)]


def _leaky_relu(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.LeakyReLU(operation.negative_slope, name=operation.name)]


def _elu(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.ELU(operation.alpha, name=operation.name)]


def _celu(operation: Any, node: Any) -> list[Any]:
    return [type(operation)(operation.alpha, name=operation.name)]


def _gelu(operation: Any, node: Any) -> list[Any]:
    return [type(operation)(operation.approximate, name=operation.name)]


def _softmax(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.Softmax(operation.axis, name=operation.name)]


def _clip(operation: Any, node: Any) -> list[Any]:
    if operation.x_min != 0 or np.ndim(operation.x_max):
        raise unsupported(operation, f"there is no gene for limits of {operation.x_min} and {operation.x_max}")
    return [keras.layers.ReLU(float(operation.x_max), name=operation.name)]


def _concatenate(operation: Any, node: Any) -> list[Any]:
    return [keras.layers.Concatenate(operation.axis, name=operation.name)]


def _over_axes(stem: str) -> Callable[[Any, Any], list[Any]]:
    def layers(operation: Any, node: Any) -> list[Any]:
        axes = len(_shape(node))
        given = range(axes) if operation.axis is None else operation.axis
        over = sorted(a % axes for a in np.atleast_1d(given))
        if over != [axes - 1] and (not set(over) <= set(range(1, axes - 1)) or axes - 2 not in _SPATIAL):
            raise unsupported(
                operation, f"axis={operation.axis!r} has no gene; expected axes of the image, or channels"
            )
        if getattr(operation, "initial", None) is not None:
            raise unsupported(operation, f"initial={operation.initial!r} has no gene")
        if over == list(range(1, axes - 1)):
            return [keras_class(f"Global{stem}", axes - 2)(keepdims=operation.keepdims, name=operation.name)]
        if over == [axes - 1]:
            kind = _Mean if stem == "AveragePooling" else _Max
            made = kind(axis=-1, keepdims=True, name=operation.name)
        else:
            window = [n if place in over else 1 for place, n in enumerate(_shape(node))][1:-1]
            made = keras_class(stem, axes - 2)(window, name=operation.name)
        return [made] if operation.keepdims else [made, keras.layers.Reshape(tuple(node.outputs[0].shape[1:]))]

    return layers


def _reshape(operation: Any, node: Any) -> list[Any]:
    """Return a layer that writes the values of each sample in the order that they have in another shape."""
    before, after = _shape(node), tuple(node.outputs[0].shape)
    if before == after:
        return []
    if not after or before[0] != after[0] or None in after[1:]:
        raise unsupported(operation, f"expected the same samples in another shape, got {after} of {before}")
    return [keras.layers.Reshape(after[1:], name=operation.name)]


def _permute(operation: Any, node: Any) -> list[Any]:
    axes = len(_shape(node))
    order = np.arange(axes)
    match type(operation).__name__:
        case "Transpose":
            order = order[::-1] if operation.axes is None else np.array(operation.axes) % axes
        case "Swapaxes":
            first, second = operation.axis1 % axes, operation.axis2 % axes
            order[first], order[second] = order[second], order[first]
        case "Moveaxis":
            sizes = np.moveaxis(np.empty(range(2, axes + 2)), operation.source, operation.destination).shape
            order = np.array(sizes) - 2
    if order[0] != 0:
        raise unsupported(operation, f"expected the samples to stay the first axis, got the order {order.tolist()}")
    return [keras.layers.Permute(tuple(order[1:].tolist()), name=operation.name)] if any(np.diff(order) != 1) else []


def _pad(operation: Any, node: Any) -> list[Any]:
    if operation.mode != "constant" or any(_values(node)[1:]):
        raise unsupported(operation, f"mode={operation.mode!r} has no gene; expected zeros")
    axes = len(_shape(node))
    width = [(int(before), int(after)) for before, after in operation.pad_width]
    return _on_pixels(operation, "ZeroPadding", width * axes if len(width) == 1 else width)


def _get_item(operation: Any, node: Any) -> list[Any]:
    """Return a cropping layer for slices that leave out pixels at the edges."""
    key = _values(node)[1]
    key = list(key) if isinstance(key, (tuple, list)) else [key]
    shape = _shape(node)
    missing = len(shape) - len([each for each in key if each is not Ellipsis])
    place = next((i for i, each in enumerate(key) if each is Ellipsis), len(key))
    key[place : place + 1] = [slice(None)] * missing
    width = []
    for size, each in zip(shape, key, strict=False):
        if not isinstance(each, slice) or each.step not in (None, 1) or missing < 0:
            raise unsupported(operation, "expected slices of pixels that follow each other")
        if (each.start, each.stop) == (None, None):
            width.append((0, 0))
        elif size is None:
            raise unsupported(operation, "expected an image of known size to slice")
        else:
            start, stop, _ = each.indices(size)
            width.append((start, size - stop))
    return _on_pixels(operation, "Cropping", width)


def _split(operation: Any, node: Any) -> list[list[Any]]:
    """Return for each part the layers that leave out the others."""
    shape, found, start = _shape(node), [], 0
    axis = operation.axis % len(shape)
    for tensor in node.outputs:
        size = int(tensor.shape[axis] or 0)
        width = [(0, 0)] * len(shape)
        width[axis] = (start, int(shape[axis] or 0) - start - size)
        found.append(_on_pixels(operation, "Cropping", width))
        start += size
    return found


def _on_pixels(operation: Any, stem: str, width: Sequence[tuple[int, int]]) -> list[Any]:
    """Return the layers that add pixels to, or take them from, the edges of an image; or channels from it."""
    rank = len(width) - 2
    if stem == "Cropping" and any(width[-1]) and not any(map(any, width[:-1])) and rank in (1, 2):
        shape = tuple(operation._inbound_nodes[0].input_tensors[0].shape[1:])
        left = (*shape[:-1], shape[-1] - sum(width[-1]))
        as_pixels = keras_class(stem, rank + 1)((*width[1:-1], width[-1]))
        if None not in shape:
            return [keras.layers.Reshape((*shape, 1)), as_pixels, keras.layers.Reshape(left)]
    if any(map(any, (width[0], width[-1]))) or rank not in _SPATIAL:
        raise unsupported(operation, f"expected only pixels to be changed, got {list(width)} of samples to channels")
    inner = tuple(width[1:-1])
    if not any(map(any, inner)):
        return []
    return [keras_class(stem, rank)(inner[0] if rank == 1 else inner, name=operation.name)]


def _pooling(stem: str) -> Callable[[Any, Any], list[Any]]:
    def layers(operation: Any, node: Any) -> list[Any]:
        rank = len(_shape(node)) - 2
        settings = {"strides": operation.strides, "padding": operation.padding, "data_format": operation.data_format}
        return [keras_class(stem, rank)(operation.pool_size, **settings, name=operation.name)]

    return layers


def _resize(operation: Any, node: Any) -> list[Any]:
    settings = {
        name: getattr(operation, name)
        for name in ("interpolation", "antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "data_format")
    }
    for name in ("antialias", "pad_to_aspect_ratio", "crop_to_aspect_ratio"):
        if settings[name]:
            raise unsupported(operation, f"{name}=True has no gene")
    del settings["antialias"]
    return [keras.layers.Resizing(*operation.size, **settings, name=operation.name)]


_WITH_SETTINGS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "Negative": _negative,
    "Square": _square,
    "Copy": _no_change,
    "ConvertToTensor": _no_change,
    "Cast": _cast,
    "ReLU": _relu,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Celu": _celu,
    "Gelu": _gelu,
    "Softmax": _softmax,
    "Clip": _clip,
    "Concatenate": _concatenate,
    "Mean": _over_axes("AveragePooling"),
    "Max": _over_axes("MaxPooling"),
    "Amax": _over_axes("MaxPooling"),
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _reshape,
    "Ravel": _reshape,
    "Transpose": _permute,
    "Swapaxes": _permute,
    "Moveaxis": _permute,
    "Pad": _pad,
    "GetItem": _get_item,
    "MaxPool": _pooling("MaxPooling"),
    "AveragePool": _pooling("AveragePooling"),
    "Resize": _resize,
}
