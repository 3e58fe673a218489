"""Helpers of the gene kinds that build and read Keras layers. Runs anywhere: its functions import Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import compact
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.genome.layers.common.bounds import FUNCTIONS

_READ = ("noise_shape", "scale", "offset", "output_shape")  # settings of which `read` compares all values


def rank_of(tensor: Any) -> int:
    """Return the number of spatial axes of a Keras tensor; 0 for features."""
    return len(tensor.shape) - 2


def keras_class(stem: str, rank: int, suffix: str = "") -> Any:
    """Return the Keras layer class of that name for images of so many axes, such as ``Conv2D``."""
    import keras

    return getattr(keras.layers, f"{stem}{rank}D{suffix}")


def is_of(layer: Any, stem: str, suffix: str = "") -> bool:
    """Tell whether a Keras layer is of such a class, for images of any rank; a subclass is not."""
    return is_exactly(layer, *(f"{stem}{rank}D{suffix}" for rank in (1, 2, 3)))


def is_exactly(layer: Any, *names: str) -> bool:
    """Tell whether a Keras layer is of one of Keras's classes of these names; a subclass does something else."""
    import keras

    return any(type(layer) is getattr(keras.layers, name, None) for name in names)


def is_operation(layer: Any, *names: str) -> bool:
    """Tell whether what computes a Keras tensor is an operation of `keras.ops` of one of these names, not a layer."""
    return type(layer).__module__.startswith("keras.src.ops.") and type(layer).__name__ in names


def is_depthwise(layer: Any) -> bool:
    """Tell whether a Keras layer is a depthwise convolution in 3-D: a convolution with a group for each channel."""
    return is_exactly(layer, "Conv3D") and layer.groups > 1 and layer.groups == int(layer.input.shape[-1])


_WHY = {  # no gene, by the name of Keras's class
    "UnitNormalization": "it divides by the length of its input, which no gene does",
    "SpectralNormalization": "it limits the weights of another layer while training, which no gene does",
    "Masking": "it marks parts of a sequence, and genes are of networks of images",
    "RepeatVector": "it repeats features along a sequence; multiply an image with them instead",
    "Attention": "it compares two tensors; there is a gene for MultiHeadAttention that reads one tensor only",
    "AdditiveAttention": "it compares two tensors; there is a gene for MultiHeadAttention that reads one tensor only",
    "Dot": "it multiplies tensors as matrices, which no gene does",
}


def without_gene(layer: Any) -> GenomeError:
    """Return the error for a Keras layer of a kind for which there is no gene."""
    return unsupported(layer, _WHY.get(type(layer).__name__, "there is no gene for this kind of layer"))


def unsupported(layer: Any, why: str) -> GenomeError:
    """Return the error for a Keras layer without a gene."""
    return GenomeError(f"layer {layer.name!r} ({type(layer).__name__}): {why}")


def expect(layer: Any, setting: str, holds: bool) -> None:
    """Raise the error for a Keras layer with a setting that genes do not know, unless the setting `holds`."""
    if not holds:
        raise unsupported(layer, f"{setting}={getattr(layer, setting)!r} has no gene")


def expect_last_axis(layer: Any) -> None:
    """Refuse a Keras layer that computes along another axis than that of the channels."""
    last = len(layer.input.shape) - 1
    axes = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    expect(layer, "axis", axes in ([-1], [last]))


def expect_image_layer(layer: Any) -> None:
    """Refuse a Keras layer of images with channels first, or with a padding that genes do not know."""
    expect(layer, "data_format", getattr(layer, "data_format", "channels_last") == "channels_last")
    expect(layer, "padding", getattr(layer, "padding", "same") in ("same", "valid", "causal"))


def expect_plain_weights(layer: Any) -> None:
    """Refuse a Keras layer whose weights are limited, or are not all of its weights."""
    for name, value in layer.get_config().items():
        if name.endswith("_constraint") or name in ("lora_rank", "quantization_config"):
            expect(layer, name, value is None)


def keras_name(function: Any) -> str | None:
    """Return the name of a function in `keras.activations`; None if it is another function."""
    import keras

    name = keras.activations.serialize(function)
    return name if isinstance(name, str) and keras.activations.get(name) is function else None


def function_name(layer: Any) -> str:
    """Return the name of the activation function of a Keras layer."""
    name = keras_name(layer.activation)
    if name not in FUNCTIONS:
        raise unsupported(layer, f"activation={name or layer.activation!r} has no gene")
    return name


def losses(layer: Any) -> list[str]:
    """Return the settings of a Keras layer that change only its training and that no gene keeps, with their values.

    They are regularisers, and that its weights are not trained; initial values are left out without a word.
    """
    config = layer.get_config().items()
    kept = [f"{name}={value['class_name']}" for name, value in config if name.endswith("_regularizer") and value]
    return kept if layer.trainable else [*kept, "trainable=False"]


def _compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a Keras layer that make a difference to what it computes or how it is trained."""
    others = ("name", "dtype", "trainable", "seed", "batch_shape", "batch_input_shape", "build_config")
    ends = ("_initializer", "_regularizer")
    return {k: _listed(v) for k, v in config.items() if k not in others and not k.endswith(ends)}


def _listed(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_listed(v) for v in value] if isinstance(value, (tuple, list)) else value


def check_settings(gene: Layer, layer: Any) -> None:
    """Raise the error for a Keras layer with a setting that its gene does not build.

    The gene is built, and the settings of the Keras layer of the same class are compared. A layer that the gene builds
    as one of another class, such as ``ReLU`` as ``Activation``, is compared when it is read.
    """
    import keras

    read = layer.input
    if isinstance(read, list) and any(tensor is not read[0] for tensor in read):
        return  # a gate, which is compared when it is read
    if isinstance(layer, keras.Model):  # a model in the model, likewise
        return
    read = read[0] if isinstance(read, list) else read
    start = keras.Input(batch_shape=read.shape, dtype=read.dtype)
    with keras.StatelessScope(initialize_variables=False):  # without making weights
        made = gene.build(start, "read", lambda: 0)
    while made is not start:
        history = made._keras_history
        if type(history.operation) is type(layer):
            built = history.operation
            mine, its = _compared(built.get_config()), _compared(layer.get_config())
            for name in its:
                if name not in mine or (mine[name] != its[name] and not _alike(layer, name, mine[name], its[name])):
                    raise unsupported(layer, f"{name}={getattr(layer, name, its[name])!r} has no gene")
            return
        made = history.operation._inbound_nodes[history.node_index].input_tensors[0]


def _alike(layer: Any, name: str, mine: Any, its: Any) -> bool:
    """Tell whether two values of a setting mean the same."""
    if name in _READ and not isinstance(its, bool):
        return True
    if name == "axis":  # the last one, counted from the front or from the end
        last = len(layer.input.shape) - 1
        axes = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in (mine, its)]
        return all(axis in (-1, last) for axis in axes)
    return isinstance(mine, float) and isinstance(its, float) and abs(mine - its) <= 1e-6 * abs(its)


def sizes(value: Any) -> Shape:
    """Return a size of a Keras layer, one for each axis, as genes have it."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return compact(tuple(int(v) for v in given))
