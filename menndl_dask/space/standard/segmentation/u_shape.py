"""U-shaped networks: an encoder, and a decoder that reads each stage of the encoder again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import TransposedConvolution
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import Stage


class Convolve(Protocol):
    """Adds the convolutions of a stage behind some layers, and returns the index of the last one."""

    def __call__(self, net: NetworkBuilder, place: int, *sources: int) -> int:
        """Add them for the stage at that place."""


@dataclass(frozen=True, slots=True)
class UShape:
    """A U-shaped network in which transposed convolutions enlarge the image.

    Parameters
    ----------
    stages
        Its stages, the image at full resolution first.
    encode
        Adds a stage of the encoder, the step to a smaller image included.
    decode
        Adds a stage of the decoder, which reads the enlarged image and then the stage of the encoder.
    kernels
        Of the transposed convolution that leads to each stage but the last.
    bias
        Whether transposed convolutions have one.
    """

    stages: Sequence[Stage]
    encode: Convolve
    decode: Convolve
    kernels: Sequence[int]
    bias: bool = True

    def genome(self, views: int) -> Genome:
        """Return the network, with so many views that are concatenated."""
        net = NetworkBuilder()
        entry: Sequence[int] = [-1 - view for view in range(views)]
        skips: list[int] = []
        for place in range(len(self.stages)):
            skips.append(self.encode(net, place, *entry))
            entry = skips[-1:]
        tip = skips[-1]
        for place in reversed(range(len(self.stages) - 1)):
            step = self.stages[place + 1].step
            larger = TransposedConvolution(self.kernels[place], step, step, bias=self.bias, activation="linear")
            tip = self.decode(net, place, net.add(larger, tip), skips[place])
        return net.genome()
