"""Bases of the layers with weights, and of those whose kernels slide over an image. Runs anywhere, Keras loads late."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, choice, spread
from menndl_dask.genome.layer import Layer, Seeds, Shape, Window
from menndl_dask.genome.layers.common.bounds import ACTIVATIONS, FUNCTIONS
from menndl_dask.genome.layers.common.keras_settings import (
    expect,
    expect_image_layer,
    function_name,
    keras_class,
    rank_of,
    sizes,
)
from menndl_dask.genome.layers.common.window import (
    image_size,
    size_after_window,
    sliding_windows,
    window_area,
    window_reach,
)
from menndl_dask.genome.layers.elementwise.activation import Activation
from menndl_dask.genome.layers.elementwise.normalisation import (
    NORMALISATIONS,
    Normalisation,
    check_normalisation,
    normalisation_parameters,
    possible_normalisation,
    role_with,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted(Layer):
    """Base of the layers with weights, which end with a normalisation and an activation, in this order."""

    channels: ClassVar[str] = "mixed"

    activation: str = choice(*ACTIVATIONS, valid=Choice(FUNCTIONS))
    normalisation: str = choice(*NORMALISATIONS)
    bias: bool = choice(True, False)

    def weight_count(self, shape: Shape) -> int:
        """Return the number of weights without those of bias and normalisation."""
        raise self._without("weights")

    def ended(self, after: Shape) -> Shape:
        """Return the shape of the output; raises `InfeasibleError` if it cannot be normalised as the gene says."""
        check_normalisation(self.normalisation, after)
        return after

    @property
    def channel_role(self) -> str:
        return role_with(self.normalisation, self.channels)

    def reads_whole_image(self, shape: Shape) -> bool:
        return self.normalisation in ("instance", "group") or Layer.reads_whole_image(self, shape)

    def suited(self, shape: Shape) -> Layer:
        if self.normalisation not in ("instance", "group"):
            return self
        after = self.replaced(normalisation="none").output_shape(shape)
        return self.replaced(normalisation=possible_normalisation(self.normalisation, after))

    def parameter_count(self, shape: Shape) -> int:
        channels = self.output_shape(shape)[-1]
        end = channels * self.bias + normalisation_parameters(self.normalisation, channels)
        return self.weight_count(shape) + end

    def forward_flops(self, shape: Shape) -> float:
        return self.product_flops(shape) + self.end_flops(self.output_shape(shape))

    def product_flops(self, shape: Shape) -> float:
        """Return the FLOPs of all products with weights and their sums: those that the counters of frameworks count."""
        return 2.0 * self.weight_count(shape) * math.prod(self.output_shape(shape)[:-1])

    def input_gradient_flops(self, shape: Shape) -> float:
        return self.product_flops(shape)

    def kept_values(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) * (1 if self.normalisation == "none" else 2)

    def end_flops(self, after: Shape) -> float:
        """Return the FLOPs of bias, normalisation and activation on a tensor of this shape."""
        normalised = 2 if self.normalisation != "none" else 0
        return float(math.prod(after) * (self.bias + normalised + (self.activation != "linear")))

    def absorb(self, following: Layer) -> Layer | None:
        if self.activation != "linear":
            return None
        # with settings of their own they stay genes of their own
        if isinstance(following, Normalisation) and self.normalisation == "none" and following.is_plain:
            return self.replaced(normalisation=following.method)
        if isinstance(following, Activation) and following.is_plain:
            return self.replaced(activation=following.function)
        return None

    def build_weighted(self, kind: Any, tensor: Any, name: str, **settings: Any) -> Any:
        """Apply a Keras layer of a class and settings, and then the normalisation and the activation."""
        import keras

        if self.normalisation == "none":
            return kind(**settings, use_bias=self.bias, activation=self.activation, name=name)(tensor)
        tensor = kind(**settings, use_bias=self.bias, name=name)(tensor)
        tensor = Normalisation(self.normalisation).build(tensor, f"{name}_normalisation", int)
        if self.activation != "linear":
            tensor = keras.layers.Activation(self.activation, name=f"{name}_activation")(tensor)
        return tensor

    def initial_weights(self, seeds: Seeds) -> Any:
        """Return the Keras initializer that suits the activation."""
        import keras

        rectifies = self.activation in ("relu", "leaky_relu", "elu", "gelu", "silu")
        kind = keras.initializers.HeNormal if rectifies else keras.initializers.GlorotUniform
        return kind(seed=seeds())

    @staticmethod
    def read_end(layer: Any) -> dict[str, Any]:
        """Return bias and activation of a Keras layer."""
        expect(layer, "use_bias", isinstance(layer.use_bias, bool))
        return {"bias": layer.use_bias, "activation": function_name(layer)}


class SlidingKernel(Weighted):
    """Base of the layers whose kernels slide over an image."""

    __slots__ = ()
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    drawn_family: ClassVar[str] = "convolution"

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str
    dilation: tuple[int, ...]

    def kernel_area(self, shape: Shape) -> int:
        """Return the number of pixels under a kernel."""
        return window_area(self.kernel_size, len(shape) - 1)

    def spatial_after(self, shape: Shape) -> Shape:
        """Return the sizes of the image after the kernels."""
        spatial = image_size(shape, self.ranks)
        if max(self.stride) > 1 and max(self.dilation) > 1:
            raise InfeasibleError("a stride and a dilation larger than 1 exclude each other")
        if self.padding == "causal" and len(spatial) > 1:
            raise InfeasibleError(f"padding: 'causal' exists for images of 1 axis, got {len(spatial)}")
        reach = window_reach(self.kernel_size, self.dilation, len(spatial))
        return size_after_window(spatial, reach, self.stride, self.padding)

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        # a stride larger than 1 excludes a dilation
        layer = self.replaced(dilation=(1,)) if max(self.stride) > 1 and max(self.dilation) > 1 else self
        reach = window_reach(layer.kernel_size, layer.dilation, len(spatial))
        if layer.padding == "causal":
            return layer.replaced(padding="same") if len(spatial) > 1 else layer
        pads = only_same or any(r > n for r, n in zip(reach, spatial, strict=True))
        return layer.replaced(padding="same") if pads else layer

    def windows(self, spatial: Shape) -> tuple[Window, ...]:
        reach = window_reach(self.kernel_size, self.dilation, len(spatial))
        return sliding_windows(spatial, reach, self.stride, self.padding)

    def build_kernels(self, stem: str, tensor: Any, name: str, **settings: Any) -> Any:
        """Apply the Keras layer with this start of its name and these settings, and then `build_weighted`'s others."""
        rank = rank_of(tensor)
        return self.build_weighted(
            keras_class(stem, rank),
            tensor,
            name,
            kernel_size=spread(self.kernel_size, rank),
            strides=spread(self.stride, rank),
            padding=self.padding,
            dilation_rate=spread(self.dilation, rank),
            **settings,
        )

    @classmethod
    def read_kernel(cls, layer: Any) -> dict[str, Any]:
        """Return the fields of the gene that are read from a Keras layer."""
        expect_image_layer(layer)
        return {
            "kernel_size": sizes(layer.kernel_size),
            "stride": sizes(layer.strides),
            "padding": layer.padding,
            "dilation": sizes(layer.dilation_rate),
            **cls.read_end(layer),
        }


class SlidingKernelByChannel(SlidingKernel):
    """Base of the layers whose kernels slide over each channel by itself: in Keras, layers of 1-D and 2-D images."""

    __slots__ = ()
    ranks: ClassVar[tuple[int, ...]] = (1, 2)

    def spatial_after(self, shape: Shape) -> Shape:
        """Return the sizes of the image after the kernels; along both axes of a 2-D image they move by one stride."""
        rank = len(image_size(shape, self.ranks))
        if rank < 3 and len(set(spread(self.stride, rank))) > 1:
            raise InfeasibleError(f"expected the same stride on all axes, got {self.stride}")
        return SlidingKernel.spatial_after(self, shape)

    def clipped(self, spatial: Shape, *, only_same: bool) -> Layer:
        uneven = len(spatial) < 3 and len(set(self.stride)) > 1
        layer = self.replaced(stride=(max(self.stride),)) if uneven else self
        return SlidingKernel.clipped(layer, spatial, only_same=only_same)
