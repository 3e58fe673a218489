"""The normalisation by itself. Runs anywhere: only `build` and `read` import Keras."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.domain import Choice, Maybe, Real, choice, setting
from menndl_dask.genome.layer import Layer, Seeds, Shape
from menndl_dask.genome.layers.common.bounds import FLAG, WIDTH
from menndl_dask.genome.layers.common.keras_settings import expect_last_axis, is_exactly
from menndl_dask.genome.layers.elementwise.activation import only_join

NORMALISATIONS = ("none", "batch", "layer", "instance", "group")
_MOST_GROUPS, _SMALLEST_GROUP = 8, 4  # groups of channels, channels of a group
_EPSILONS = {"batch": 1e-3, "layer": 1e-3, "rms": 1e-6, "rms_scaling": 1e-3, "instance": 1e-5, "group": 1e-5}
_MOMENTUM = 0.9  # with the few steps of a short training a slower moving average would be far from the truth


@dataclass(frozen=True, slots=True)
class Normalisation(Layer):
    """Normalise over a batch, or each sample by itself.

    Parameters
    ----------
    method
        ``batch`` (each channel over the pixels of all samples of a batch), ``layer`` (each pixel over its channels),
        ``instance`` (each channel of a sample over its pixels), ``group`` (each group of channels of a sample over
        their pixels; Wu and He 2018, doi:10.1007/978-3-030-01261-8_1), ``rms`` (each pixel by the root of the mean
        square of its channels; Zhang and Sennrich 2019, doi:10.48550/arXiv.1910.07467), ``rms_scaling`` (what Keras's
        layer normalisation does with its setting of this name) or ``none``.
    epsilon
        Added to the variance. None: Keras's own value; 1e-5, that of nnU-Net, with ``instance`` and ``group``.
    momentum
        Share of the moving mean and variance that a step keeps, with ``batch``.
    scale, center
        Whether the result is multiplied with weights, and whether weights are added; with ``rms`` and ``rms_scaling``
        it is always multiplied.
    groups
        Number of groups, with ``group``. None: see `group_count`.
    """

    channels: ClassVar[str] = "kept"

    method: str = choice(
        "batch", "layer", "none", "instance", "group",
        valid=Choice(("batch", "layer", "none", "instance", "group", "rms", "rms_scaling")),
    )  # fmt: skip
    epsilon: float | None = setting(Maybe(Real(0.0, 1e3)), None, later=True)
    momentum: float = setting(Real(0.0, 1.0), _MOMENTUM, later=True)
    scale: bool = setting(FLAG, True, later=True)
    center: bool = setting(FLAG, True, later=True)
    groups: int | None = setting(Maybe(WIDTH), None, later=True)

    def output_shape(self, shape: Shape) -> Shape:
        check_normalisation(self.method, shape)
        if self.method == "group" and self.groups is not None:
            if shape[-1] % self.groups:
                raise InfeasibleError(f"expected channels in {self.groups} groups to normalise, got {shape[-1]}")
            if (usual := _usual(self.groups, shape[-1])) is not None:
                raise InfeasibleError(f"{self.groups} groups of {shape[-1]} channels are written as {usual}")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        if self.method in ("rms", "rms_scaling"):
            return shape[-1]
        return (2 * (self.method == "batch") + self.scale + self.center) * shape[-1] * (self.method != "none")

    def forward_flops(self, shape: Shape) -> float:
        return 2.0 * math.prod(shape)

    def build(self, tensor: Any, name: str, seeds: Seeds) -> Any:
        import keras

        epsilon = _EPSILONS[self.method] if self.epsilon is None else self.epsilon
        if self.method == "rms":
            return keras.layers.RMSNormalization(axis=-1, epsilon=epsilon, name=name)(tensor)
        settings = {"epsilon": epsilon, "scale": self.scale, "center": self.center, "name": name}
        if self.method == "batch":
            return keras.layers.BatchNormalization(axis=-1, momentum=self.momentum, **settings)(tensor)
        if self.method == "layer":
            return keras.layers.LayerNormalization(axis=-1, **settings)(tensor)
        if self.method == "rms_scaling":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Keras's, that it is not RMS normalisation
                return keras.layers.LayerNormalization(epsilon=epsilon, name=name, rms_scaling=True)(tensor)
        channels = int(tensor.shape[-1])
        groups = channels if self.method == "instance" else self.groups or group_count(channels)
        return keras.layers.GroupNormalization(groups, axis=-1, **settings)(tensor)

    @classmethod
    def read(cls, layer: Any) -> Self | None:
        names = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization")
        if not is_exactly(layer, *names):
            return None
        expect_last_axis(layer)
        words = {"BatchNormalization": "batch", "LayerNormalization": "layer", "RMSNormalization": "rms"}
        method, groups = words.get(type(layer).__name__, "group"), None
        if method == "group":
            channels = int(layer.input.shape[-1])
            groups = channels if layer.groups == -1 else int(layer.groups)
            method = "instance" if groups == channels else "group"
            groups = None if _usual(groups, channels) else groups
        elif getattr(layer, "rms_scaling", False):
            method = "rms_scaling"
        weights = method not in ("rms", "rms_scaling")
        return cls(
            method,
            None if layer.epsilon == _EPSILONS[method] else float(layer.epsilon),
            float(layer.momentum) if method == "batch" else _MOMENTUM,
            bool(layer.scale) if weights else True,
            bool(layer.center) if weights else True,
            groups,
        )

    @property
    def is_identity(self) -> bool:
        return self.method == "none"

    @property
    def is_plain(self) -> bool:
        """Whether a layer with weights can end with it, as its field `normalisation` says."""
        return self == Normalisation(self.method, inputs=self.inputs, join=self.join) and self.method in NORMALISATIONS

    def simplified(self) -> Layer:
        if self.is_identity:
            return only_join(self)
        changes: dict[str, Any] = {}
        if self.epsilon == _EPSILONS[self.method]:
            changes["epsilon"] = None
        if self.method != "batch":
            changes["momentum"] = _MOMENTUM
        if self.method != "group":
            changes["groups"] = None
        if self.method in ("rms", "rms_scaling"):
            changes |= {"scale": True, "center": True}
        return self.replaced(**changes) if any(getattr(self, name) != v for name, v in changes.items()) else self

    @property
    def channel_role(self) -> str:
        return role_with(self.method, self.channels)

    def reads_whole_image(self, shape: Shape) -> bool:
        return self.method in ("instance", "group")

    def suited(self, shape: Shape) -> Layer:
        groups = self.groups
        if groups is not None and (shape[-1] % groups or _usual(groups, shape[-1])):
            groups = None
        return self.replaced(method=possible_normalisation(self.method, shape), groups=groups)


def group_count(channels: int) -> int:
    """Return the number of groups of group normalisation: at most 8, of at least 4 channels each.

    >>> [group_count(channels) for channels in (4, 16, 24, 64, 7)]
    [1, 4, 6, 8, 1]
    """
    possible = range(2, min(_MOST_GROUPS, channels // _SMALLEST_GROUP) + 1)
    return max((n for n in possible if channels % n == 0), default=1)


def _usual(groups: int, channels: int) -> str | None:
    """Return how a normalisation of so many groups is written if its number of groups need not be written."""
    if groups == channels:
        return "the method 'instance'"
    return "the groups None" if groups == group_count(channels) else None


def check_normalisation(method: str, shape: Shape) -> None:
    """Raise `InfeasibleError` if a normalisation would leave nothing of a tensor of this shape."""
    if method == "instance" and math.prod(shape[:-1]) == 1:
        raise InfeasibleError(f"instance normalisation: expected several pixels in each channel, got shape {shape}")
    if method == "group" and shape[-1] == 1:
        raise InfeasibleError(f"group normalisation: expected several channels, got shape {shape}")


def possible_normalisation(method: str, shape: Shape) -> str:
    """Return the normalisation, or one like it that is possible on a tensor of this shape."""
    pixels = math.prod(shape[:-1])
    if method == "instance" and pixels == 1:
        return "group" if shape[-1] > 1 else "none"
    if method == "group" and shape[-1] == 1:
        return "instance" if pixels > 1 else "none"
    return method


def role_with(method: str, role: str) -> str:
    """Return what becomes of the channels in a layer of that role whose output is normalised; see `Layer.channels`."""
    if method != "group":
        return role
    return "grouped" if role == "mixed" else "fixed"  # neighbours form groups


def normalisation_parameters(method: str, channels: int) -> int:
    """Return the weights of a normalisation: scale and offset, and for a batch the moving mean and variance."""
    return {"none": 0, "batch": 4}.get(method, 2) * channels
