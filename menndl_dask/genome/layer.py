"""Layers: the base of the genes that are one layer of a network. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import PerAxis, compact
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.topology import Sources
from menndl_dask.validation import shown

Shape = tuple[int, ...]  # (*spatial, channels) of an image, or (features,); without the batch
Seeds = Callable[[], int]  # returns the next random seed
FARTHEST = 10_000  # layers and views between a layer and what it reads: networks have fewer
JOINS = ("concatenate", "add", "multiply", "average", "maximum", "minimum", "subtract")
ASSOCIATIVE = ("concatenate", "add", "multiply", "maximum", "minimum")  # joins of joins of these are one join
RULES = ("output_shape", "parameter_count", "forward_flops", "build")  # methods that every kind must have
MOST_READ = 256  # genes of a kind without the method `read`, which are tried one after the other


class Window(NamedTuple):
    """The pixels along one axis that a layer reads for each pixel of its output.

    For pixel ``i`` they are those from ``(step * i + first) // parts`` to ``(step * i + last) // parts``. By default
    this is pixel ``i`` only.
    """

    step: int = 1
    parts: int = 1
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Gene):
    """Base of the genes that are a layer of a network.

    A kind is a subclass in a file of its own, the package's (in `layers`) like a user's. It must have the methods named
    in `RULES`, and `read` if its fields have more than 256 settings in all. The other methods and the class variables
    have defaults.

    Parameters
    ----------
    inputs
        Offsets of the layers that are read: 1 is the neighbour before, 2 the one before that; offsets that
        reach past the first layer name the problem's views, the first view first.
    join
        How several inputs become one: ``concatenate`` along the channels, or value by value ``add``, ``multiply``,
        ``average``, ``maximum``, ``minimum`` or ``subtract`` (the second of two from the first). Value by value, an
        axis with one pixel (or channel) is as if repeated along the axis of the others.

    Attributes
    ----------
    channels
        What the layer does with the channels: ``mixed`` (by weights), ``kept`` (each by itself) or ``fixed`` (their
        order means something); see `topology.order_matters`. Where it depends on the settings: `channel_role`.
    drawn_title
        Name in the drawing of a network; the name of the class by default.
    drawn_family
        Colour in the drawing: ``convolution``, ``pooling``, ``enlarging``, ``dense`` or ``other``.
    """

    channels: ClassVar[str] = "fixed"
    drawn_title: ClassVar[str] = ""
    drawn_family: ClassVar[str] = "other"

    inputs: tuple[int, ...] = (1,)
    join: str = "concatenate"

    def __post_init__(self) -> None:
        offsets = self.inputs if isinstance(self.inputs, tuple) else ()
        if not offsets or any(type(d) is not int or not 1 <= d <= FARTHEST for d in offsets):
            expected = f"offsets from 1 to {FARTHEST:,}"
            raise GenomeError(f"{type(self).__name__}: inputs: expected {expected}, got {shown(self.inputs)}")
        if self.join not in JOINS:
            got = shown(self.join)
            raise GenomeError(f"{type(self).__name__}: join: expected one of {JOINS}, got {got}")
        if self.join == "subtract" and len(offsets) > 2:
            raise GenomeError(f"{type(self).__name__}: join: subtract: expected 2 inputs, got {len(offsets)}")
        self.check_values()

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape after the layer where it reads a tensor of this shape.

        Raises
        ------
        InfeasibleError
            If the layer cannot read a tensor of this shape.
        """
        raise self._without("shape")

    def parameter_count(self, shape: Shape) -> int:
        """Return the number of weights of the layer where it reads a tensor of this shape."""
        raise self._without("parameters")

    def forward_flops(self, shape: Shape) -> float:
        """Return the FLOPs of one forward pass over one tensor of this shape."""
        raise self._without("FLOPs")

    def weight_gradient_flops(self, shape: Shape) -> float:
        """Return the FLOPs of the gradient by the weights; by default those of a forward pass, 0 without weights.

        In them is whatever this gradient must pass on the way from the output, such as the activation.
        """
        return self.forward_flops(shape) if self.parameter_count(shape) else 0.0

    def input_gradient_flops(self, shape: Shape) -> float:
        """Return the FLOPs of the gradient by what the layer reads, beside that by its weights; see `cost`."""
        return self.forward_flops(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        """Apply the Keras layers of this gene to a Keras tensor, and return the result.

        Import Keras inside of the method: the driver calls the other methods and does not load Keras.

        Parameters
        ----------
        tensor
            What the layer reads, joined.
        name
            Name of the Keras layer, and prefix of the names of further ones.
        seeds
            Returns the next seed for something random.
        """
        raise self._without("Keras layer")

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        """Return the gene of a Keras layer, None if the layer is of another kind.

        Of several layers that `build` makes, it is the last one. A kind without this method is found by comparing what
        its genes build with the model.

        Raises
        ------
        GenomeError
            If the Keras layer has a setting that this kind does not know.
        """
        return None

    @classmethod
    def has_read(cls) -> bool:
        """Return whether the kind has a method `read` of its own."""
        return cls.read.__func__ is not Layer.read.__func__  # type: ignore[attr-defined]

    @property
    def channel_role(self) -> str:
        """What the layer does with the channels with its settings; `channels` by default."""
        return self.channels

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        """Return which pixels an output pixel reads, along each axis of an image of these sizes; by default its own."""
        return (Window(),) * len(spatial)

    def reads_whole_image(self, shape: Shape) -> bool:
        """Tell whether each output pixel depends on all pixels that the layer reads, such as on their mean."""
        return len(self.output_shape(shape)) < len(shape)

    def kept_values(self, shape: Shape) -> int:
        """Return how many values training keeps for the backward pass of one tensor of this shape."""
        return math.prod(self.output_shape(shape))

    @property
    def is_identity(self) -> bool:
        """Whether the output of the layer is its input, unchanged."""
        return False

    def simplified(self) -> Layer:
        """Return the layer with fields that make no difference set to one value, the same for equal layers."""
        given = {name: getattr(self, name) for name, domain in self.domains().items() if isinstance(domain, PerAxis)}
        changes: dict[str, Any] = {name: short for name, value in given.items() if (short := compact(value)) != value}
        return replace(self, **changes) if changes else self

    def at_end(self) -> Layer:
        """Return what is left of the layer if it is the last one, before the head of the network."""
        return self

    def is_undone_by(self, following: Layer) -> bool:
        """Tell whether a layer that reads only this one makes it redundant."""
        return False

    def absorb(self, following: Layer) -> Layer | None:
        """Return one layer that does the same as this and the following one; None if there is no such layer."""
        return None

    def suited(self, shape: Shape) -> Layer:
        """Return the layer with settings that are possible on a tensor of this shape, if there are such.

        Raises
        ------
        InfeasibleError
            If the layer cannot read a tensor of this shape.
        """
        return self

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        """Return the layer with settings that are possible on an image of these sizes, if there are such.

        Parameters
        ----------
        spatial
            Pixels along each axis.
        only_same
            Allow only the padding ``same``, for networks that classify each pixel.
        """
        return self

    def _without(self, rule: str) -> GenomeError:
        return GenomeError(f"gene kind {type(self).__name__} has no rule for its {rule}")


@lru_cache(maxsize=8192)
def with_inputs(layer: Layer, inputs: Sources) -> Layer:
    """Return the layer with other inputs."""
    return layer if layer.inputs == inputs else replace(layer, inputs=inputs)
