"""Inverted residual blocks: the image gets more channels, is filtered channel by channel, and gets few again. Pure.

Sandler et al. 2018, doi:10.1109/CVPR.2018.00474. MobileNetV2 and EfficientNet are made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Shape
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Pooling,
    SqueezeExcitation,
)
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

_FIRST, _LAST = 32, 1280  # kernels of the first and the last convolution


@dataclass(frozen=True, slots=True)
class Blocks:
    """A stage: the number of its blocks, their channels, and how they are computed.

    Parameters
    ----------
    count, channels
        Of the blocks, and of what each of them returns.
    moves
        Whether the first block makes the image smaller.
    pixels
        Of a kernel, along each axis.
    expansion
        Times as many channels within a block.
    """

    count: int
    channels: int
    moves: bool = False
    pixels: int = 3
    expansion: int = 6


@dataclass(frozen=True, slots=True)
class InvertedResidualNetwork:
    """A network of inverted residual blocks.

    Parameters
    ----------
    stages
        Its stages.
    activation
        Of its convolutions.
    gates
        Whether a block has squeeze-and-excitation, with a quarter as many kernels as the channels that it reads.
    dropout
        Rate behind the global average.
    """

    stages: Sequence[Blocks]
    activation: str
    gates: bool = False
    dropout: float = 0.0

    def genome(self, problem: Problem) -> Genome:
        """Return the network for a problem."""
        net, fit = NetworkBuilder(), Adaptation.of(problem, 1 + sum(stage.moves for stage in self.stages))
        net.add(Dropout(self.dropout), *fit.towers(net, lambda entry: self._tower(net, fit, entry)))
        return net.genome()

    def _tower(self, net: NetworkBuilder, fit: Adaptation, entry: int) -> int:
        convolution = self._convolution(fit)
        tip = net.add(convolution(_FIRST, fit.window(3, 0), fit.step(1)), entry)
        channels, level = _FIRST, 1
        for stage in self.stages:
            level += stage.moves
            for place in range(stage.count):
                moves = stage.moves and place == 0
                end = self._branch(net, fit, stage, channels, level, moves, tip)
                same = channels == stage.channels and not moves
                tip = net.add(Activation("linear", join="add"), end, tip) if same else end
                channels = stage.channels
        return net.add(convolution(_LAST, (1,)), tip)

    def _branch(
        self, net: NetworkBuilder, fit: Adaptation, stage: Blocks, channels: int, level: int, moves: bool, tip: int
    ) -> int:
        convolution = self._convolution(fit)
        if stage.expansion > 1:
            tip = net.add(convolution(channels * stage.expansion, (1,)), tip)
        self._filter(net, fit, fit.window(stage.pixels, level), fit.step(level) if moves else (1,), tip)
        if self.gates:
            net.add(SqueezeExcitation(4 * stage.expansion))
        return net.add(convolution(stage.channels, (1,), activation="linear"))

    def _filter(self, net: NetworkBuilder, fit: Adaptation, window: Shape, step: Shape, tip: int) -> None:
        """Add a depthwise convolution.

        In 1-D and 2-D Keras has it with equal steps along all axes only. Unequal ones are left to a pooling behind it.
        """
        convolution = partial(DepthwiseConvolution, normalisation=fit.normalisation, activation=self.activation)
        together = len(set(step)) == 1 or fit.problem.rank == 3
        net.add(convolution(window, step if together else (1,), bias=False), tip)
        if not together:
            net.add(Pooling(step, step, "average"))

    def _convolution(self, fit: Adaptation) -> partial[Convolution]:
        return partial(Convolution, bias=False, normalisation=fit.normalisation, activation=self.activation)
