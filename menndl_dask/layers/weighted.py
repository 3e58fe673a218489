"""The gene kinds that image networks are made of. Pure.

The fields' domains are the widest that a search uses by default; a search space narrows them to the problem.
A size for each axis is a tuple, and a tuple of one value holds for every axis, so that the same genes serve
1-D, 2-D and 3-D images. Layers that compute with weights end with a normalisation and an activation, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from menndl_dask.domain import choice, integer, per_axis, real
from menndl_dask.gene import Gene
from menndl_dask.genome import Layer

ACTIVATIONS = ("relu", "elu", "gelu", "silu", "tanh", "leaky_relu", "linear")
NORMALISATIONS = ("none", "batch", "layer")
_ONES = (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted(Layer):
    """Base of the layers with weights: what follows the weights is part of the gene."""

    channels: ClassVar[str] = "mixed"

    activation: str = choice(*ACTIVATIONS)
    normalisation: str = choice(*NORMALISATIONS)
    bias: bool = choice(True, False)

    def absorb(self, following: Layer) -> Layer | None:
        """Take in a normalisation or an activation that follows, where there is none yet."""
        if self.activation != "linear":
            return None
        if isinstance(following, Normalisation) and self.normalisation == "none":
            return replace(self, normalisation=following.method)
        if isinstance(following, Activation):
            return replace(self, activation=following.function)
        return None


@dataclass(frozen=True, slots=True)
class Convolution(Weighted):
    """A convolution: number of kernels, their size, stride, padding and dilation."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)

    def simplified(self) -> Layer:
        """Agree on a padding and a dilation where the kernel is a single pixel."""
        same = Layer.simplified(self)
        assert isinstance(same, Convolution)
        return replace(same, padding="same", dilation=_ONES) if same.kernel_size == _ONES else same


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(Weighted):
    """A convolution of each channel by itself, with `multiplier` kernels for each. 1-D and 2-D images."""

    channels: ClassVar[str] = "kept"
    ranks: ClassVar[tuple[int, ...]] = (1, 2)

    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)
    multiplier: int = choice(1, 2, 4)


@dataclass(frozen=True, slots=True)
class SeparableConvolution(Weighted):
    """A depthwise convolution and then a convolution of single pixels with `kernels` kernels. 1-D and 2-D images."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2)

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, 7, 9, default=3)
    stride: tuple[int, ...] = per_axis(1, 2, 3)
    padding: str = choice("same", "valid")
    dilation: tuple[int, ...] = per_axis(1, 2, 4)
    multiplier: int = choice(1, 2, 4)


@dataclass(frozen=True, slots=True)
class TransposedConvolution(Weighted):
    """A transposed convolution, which enlarges the image `stride` times."""

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)

    kernels: int = integer(4, 256, log=True, default=32)
    kernel_size: tuple[int, ...] = per_axis(2, 3, 4, 5, default=2)
    stride: tuple[int, ...] = per_axis(2, 3, 4)


@dataclass(frozen=True, slots=True)
class FullyConnected(Weighted):
    """A fully connected layer; images are flattened first. The weights are those of all the features read."""

    units: int = integer(4, 1024, log=True, default=64)


@dataclass(frozen=True, slots=True)
class Pooling(Layer):
    """The maximum or the average over a window that moves by `stride`."""

    channels: ClassVar[str] = "kept"

    size: tuple[int, ...] = per_axis(1, 2, 3, 4, 5, default=2)
    stride: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2)
    method: str = choice("max", "average")
    padding: str = choice("same", "valid")

    @property
    def is_identity(self) -> bool:
        """Whether the window is one pixel that moves by one: how MENNDL switches a slot off."""
        return set(self.size) == {1} and set(self.stride) == {1}

    def simplified(self) -> Layer:
        """Agree on a padding and a method where the window is a single pixel."""
        if self.is_identity:
            return _bare_join(self)
        same = Layer.simplified(self)
        assert isinstance(same, Pooling)
        return replace(same, padding="same", method="max") if same.size == _ONES else same


@dataclass(frozen=True, slots=True)
class GlobalPooling(Layer):
    """The maximum or the average over the whole image: one number a channel."""

    channels: ClassVar[str] = "kept"

    method: str = choice("average", "max")

    def at_end(self) -> Layer:
        """Leave averaging to the head, which does so in a classification or regression network."""
        return _bare_join(self) if self.method == "average" else self


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """Write the image as one vector. Fully connected layers do so by themselves."""

    def is_undone_by(self, following: Layer) -> bool:
        """Tell whether the layer that follows flattens by itself."""
        return isinstance(following, FullyConnected | Flatten)

    def absorb(self, following: Layer) -> Layer | None:
        """Leave flattening to the layer that follows, if it does so by itself."""
        return following if self.is_undone_by(following) else None


@dataclass(frozen=True, slots=True)
class Upsampling(Layer):
    """Enlarge the image a whole number of times; ``bilinear`` exists for 2-D images."""

    channels: ClassVar[str] = "kept"

    size: tuple[int, ...] = per_axis(1, 2, 3, 4, default=2)
    interpolation: str = choice("nearest", "bilinear")

    @property
    def is_identity(self) -> bool:
        """Whether nothing is enlarged."""
        return set(self.size) == {1}

    def simplified(self) -> Layer:
        """Agree on how to write that nothing is enlarged."""
        return _bare_join(self) if self.is_identity else Layer.simplified(self)


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Set a share of the values to zero while training."""

    channels: ClassVar[str] = "kept"

    rate: float = real(0.0, 0.7, default=0.25)

    @property
    def is_identity(self) -> bool:
        """Whether nothing is dropped."""
        return self.rate == 0

    def simplified(self) -> Layer:
        """Agree on how to write that nothing is dropped."""
        return _bare_join(self) if self.is_identity else self


@dataclass(frozen=True, slots=True)
class Normalisation(Layer):
    """Normalise over the batch, or each sample over its channels."""

    channels: ClassVar[str] = "kept"

    method: str = choice("batch", "layer", "none")

    @property
    def is_identity(self) -> bool:
        """Whether nothing is normalised."""
        return self.method == "none"

    def simplified(self) -> Layer:
        """Agree on how to write that nothing is normalised."""
        return _bare_join(self) if self.is_identity else self


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An activation by itself; ``linear`` with several inputs is a bare join."""

    channels: ClassVar[str] = "kept"

    function: str = choice(*ACTIVATIONS)

    @property
    def is_identity(self) -> bool:
        """Whether the values stay as they are."""
        return self.function == "linear"


def _bare_join(layer: Layer) -> Layer:
    """Return the agreed form of a layer that does nothing but join what it reads."""
    return Activation("linear", inputs=layer.inputs, join=layer.join)


@dataclass(frozen=True, slots=True)
class Training(Gene):
    """How a network is trained, for a search that evolves this too (MENNDL evolved the topology only)."""

    optimizer: str = choice("adam", "adamw", "sgd", "rmsprop")
    learning_rate: float = real(1e-5, 1e-1, log=True, default=1e-3)
    batch_size: int = choice(8, 16, 32, 64, 128, 256, default=32)
    weight_decay: float = choice(0.0, 1e-5, 1e-4, 1e-3)
