"""Encoding: from a Keras model back to a genome. Runs on a worker, in the trainer process, or wherever Keras is.

The model's graph is walked from its output. What the problem determines (inputs, their normalisation, the head) is left
out; every other layer becomes a gene, and the canonical form merges weights, normalisation and activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import keras

from menndl_dask import layers as genes
from menndl_dask.domain import compact
from menndl_dask.errors import GenomeError
from menndl_dask.gene import kinds_of_users
from menndl_dask.genome import Genome, Layer
from menndl_dask.topology import Sources

_PREPROCESSING = (keras.layers.Normalization, keras.layers.Rescaling)
_AFTER_HEAD = (
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.Rescaling,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)
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
        return Genome.connect([genes.Activation("linear")], [(tip,)]).canonical()
    if tip != len(walk.layers) - 1:
        raise GenomeError(f"model {model.name!r}: expected the head to read the last layer")
    return Genome.connect(walk.layers, walk.sources).canonical()


@singledispatch
def read(layer: Any) -> Layer:
    """Read the gene of one Keras layer; one rule for each class of Keras layers.

    Raises
    ------
    GenomeError
        If there is no gene for it.
    """
    raise _unsupported(layer, "there is no gene for this kind of layer")


class _Walk:
    """The genes found so far while a model's graph is walked; each Keras layer is met once."""

    def __init__(self, inputs: Sequence[int]) -> None:
        self.views = {tensor: -1 - v for v, tensor in enumerate(inputs)}
        self.layers: list[Layer] = []
        self.sources: list[Sources] = []
        self.seen: dict[int, int] = {}
        self.uses: dict[int, Any] = {}

    def node(self, tensor: Any) -> int:
        """Return the index of the gene that makes a tensor, reading what it depends on first."""
        # own stack, because models may be deeper than Python's
        stack = [tensor]
        while stack:
            current = stack[-1]
            if self._known(current) is not None:
                stack.pop()
                continue
            waiting = [t for t in _inputs_of(current) if self._known(t) is None]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            self._add(current)
            stack.pop()
        found = self._known(tensor)
        assert found is not None
        return found

    def _known(self, tensor: Any) -> int | None:
        return self.views.get(id(tensor), self.seen.get(id(tensor)))

    def _add(self, tensor: Any) -> None:
        layer = _layer_of(tensor)
        if id(layer) in self.uses:
            raise _unsupported(layer, "it is used more than once, with shared weights")
        self.uses[id(layer)] = layer
        given = tuple(self._known(t) for t in _inputs_of(tensor))
        sources = tuple(s for s in given if s is not None)
        if isinstance(layer, _PREPROCESSING):
            if len(sources) != 1 or sources[0] >= 0:
                raise _unsupported(layer, "it is supported only directly behind an input")
            self.seen[id(tensor)] = sources[0]
            return
        if len(set(sources)) < len(sources):
            raise _unsupported(layer, "it reads the same layer twice")
        gene = _gene(layer, len(sources))
        if gene.is_identity and len(sources) == 1:
            self.seen[id(tensor)] = sources[0]
            return
        self.layers.append(gene)
        self.sources.append(sources)
        self.seen[id(tensor)] = len(self.layers) - 1


def _gene(layer: Any, inputs: int) -> Layer:
    if isinstance(layer, keras.layers.Add):
        return genes.Activation("linear", join="add")
    if isinstance(layer, keras.layers.Concatenate):
        _expect(layer, "axis", layer.axis in (-1, len(layer.output.shape) - 1), layer.axis)
        return genes.Activation("linear")
    if inputs != 1:
        raise _unsupported(layer, "there is no gene for this kind of joining layers")
    for kind in kinds_of_users():
        if issubclass(kind, Layer) and (gene := kind.read(layer)) is not None:
            return gene
    if type(layer) not in read.registry:  # a subclass does something else than its base
        raise _unsupported(layer, "there is no gene for this kind of layer")
    return read(layer)


def _layer_of(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _inputs_of(tensor: Any) -> list[Any]:
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def _below_head(model: keras.Model) -> Any:
    """Return the tensor that the model's head reads."""
    tensor = model.outputs[0]
    while isinstance(_layer_of(tensor), _AFTER_HEAD):
        tensor = _inputs_of(tensor)[0]
    head = _layer_of(tensor)
    pixelwise = isinstance(head, _CONVOLUTIONS) and set(head.kernel_size) == {1} and set(head.strides) == {1}
    if not (isinstance(head, keras.layers.Dense) or pixelwise):
        raise _unsupported(head, "expected the last layer to be Dense, or a convolution of single pixels")
    return _inputs_of(tensor)[0]


def _unsupported(layer: Any, why: str) -> GenomeError:
    return GenomeError(f"layer {layer.name!r} ({type(layer).__name__}): {why}")


def _expect(layer: Any, setting: str, holds: bool, value: Any) -> None:
    if not holds:
        raise _unsupported(layer, f"{setting}={value!r} has no gene")


def _check_image_layer(layer: Any) -> None:
    data_format = getattr(layer, "data_format", "channels_last")
    _expect(layer, "data_format", data_format == "channels_last", data_format)
    padding = getattr(layer, "padding", "same")
    _expect(layer, "padding", padding in ("same", "valid"), padding)


def _function_name(layer: Any, function: Any) -> str:
    name = keras.activations.serialize(function)
    if not isinstance(name, str):
        raise _unsupported(layer, f"activation={name!r} has no gene")
    return name


def _weighted(layer: Any) -> dict[str, Any]:
    _expect(layer, "use_bias", isinstance(layer.use_bias, bool), layer.use_bias)
    return {"bias": layer.use_bias, "activation": _function_name(layer, layer.activation)}


def _sizes(value: Any) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return compact(tuple(int(v) for v in given))


def _windowed(layer: Any) -> dict[str, Any]:
    _check_image_layer(layer)
    return {
        "kernel_size": _sizes(layer.kernel_size),
        "stride": _sizes(layer.strides),
        "padding": layer.padding,
        "dilation": _sizes(layer.dilation_rate),
        **_weighted(layer),
    }


@read.register(keras.layers.Conv1D)
@read.register(keras.layers.Conv2D)
@read.register(keras.layers.Conv3D)
def _(layer: Any) -> Layer:
    _expect(layer, "groups", layer.groups == 1, layer.groups)
    return genes.Convolution(layer.filters, **_windowed(layer))


@read.register(keras.layers.DepthwiseConv1D)
@read.register(keras.layers.DepthwiseConv2D)
def _(layer: Any) -> Layer:
    return genes.DepthwiseConvolution(multiplier=layer.depth_multiplier, **_windowed(layer))


@read.register(keras.layers.SeparableConv1D)
@read.register(keras.layers.SeparableConv2D)
def _(layer: Any) -> Layer:
    return genes.SeparableConvolution(layer.filters, multiplier=layer.depth_multiplier, **_windowed(layer))


@read.register(keras.layers.Conv1DTranspose)
@read.register(keras.layers.Conv2DTranspose)
@read.register(keras.layers.Conv3DTranspose)
def _(layer: Any) -> Layer:
    settings = _windowed(layer)
    padding, dilation = settings.pop("padding"), settings.pop("dilation")
    _expect(layer, "padding", padding == "same", padding)
    _expect(layer, "dilation_rate", dilation == (1,), layer.dilation_rate)
    _expect(layer, "output_padding", layer.output_padding is None, layer.output_padding)
    return genes.TransposedConvolution(layer.filters, **settings)


@read.register
def _(layer: keras.layers.Dense) -> Layer:
    if len(layer.input.shape) != 2:
        raise _unsupported(layer, "it reads an image pixel by pixel; use a convolution with kernel size 1 instead")
    return genes.FullyConnected(layer.units, **_weighted(layer))


def _pooling(method: str) -> Callable[[Any], Layer]:
    def rule(layer: Any) -> Layer:
        _check_image_layer(layer)
        return genes.Pooling(_sizes(layer.pool_size), _sizes(layer.strides), method, layer.padding)

    return rule


def _global_pooling(method: str) -> Callable[[Any], Layer]:
    def rule(layer: Any) -> Layer:
        _check_image_layer(layer)
        _expect(layer, "keepdims", not layer.keepdims, layer.keepdims)
        return genes.GlobalPooling(method)

    return rule


for _rank in (1, 2, 3):
    read.register(getattr(keras.layers, f"MaxPooling{_rank}D"), _pooling("max"))
    read.register(getattr(keras.layers, f"AveragePooling{_rank}D"), _pooling("average"))
    read.register(getattr(keras.layers, f"GlobalMaxPooling{_rank}D"), _global_pooling("max"))
    read.register(getattr(keras.layers, f"GlobalAveragePooling{_rank}D"), _global_pooling("average"))


@read.register(keras.layers.UpSampling1D)
@read.register(keras.layers.UpSampling2D)
@read.register(keras.layers.UpSampling3D)
def _(layer: Any) -> Layer:
    _check_image_layer(layer)
    interpolation = getattr(layer, "interpolation", "nearest")
    _expect(layer, "interpolation", interpolation in ("nearest", "bilinear"), interpolation)
    return genes.Upsampling(_sizes(layer.size), interpolation)


@read.register
def _(layer: keras.layers.Flatten) -> Layer:
    _check_image_layer(layer)
    return genes.Flatten()


@read.register
def _(layer: keras.layers.Dropout) -> Layer:
    _expect(layer, "noise_shape", layer.noise_shape is None, layer.noise_shape)
    return genes.Dropout(float(layer.rate))


@read.register(keras.layers.BatchNormalization)
@read.register(keras.layers.LayerNormalization)
def _(layer: Any) -> Layer:
    last = len(layer.input.shape) - 1
    axes = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    _expect(layer, "axis", axes in ([-1], [last]), layer.axis)
    _expect(layer, "center", bool(layer.center), layer.center)
    _expect(layer, "scale", bool(layer.scale), layer.scale)
    return genes.Normalisation("batch" if isinstance(layer, keras.layers.BatchNormalization) else "layer")


@read.register
def _(layer: keras.layers.Activation) -> Layer:
    return genes.Activation(_function_name(layer, layer.activation))


@read.register
def _(layer: keras.layers.ReLU) -> Layer:
    _expect(layer, "max_value", layer.max_value is None, layer.max_value)
    _expect(layer, "negative_slope", layer.negative_slope == 0, layer.negative_slope)
    _expect(layer, "threshold", layer.threshold == 0, layer.threshold)
    return genes.Activation("relu")


@read.register
def _(layer: keras.layers.LeakyReLU) -> Layer:
    # 0.2 is the slope of Keras's activation function of this name; that of its layer is 0.3 by default
    _expect(layer, "negative_slope", abs(layer.negative_slope - 0.2) < 1e-6, layer.negative_slope)
    return genes.Activation("leaky_relu")


@read.register
def _(layer: keras.layers.ELU) -> Layer:
    _expect(layer, "alpha", float(layer.alpha) == 1.0, layer.alpha)
    return genes.Activation("elu")
