"""ConvNeXt-tiny of Liu et al. 2022, doi:10.1109/CVPR52688.2022.01167. Pure.

As in Keras without pretrained weights, no blocks are left out at random while training (stochastic depth).
"""

from __future__ import annotations

from menndl_dask.genome.domain import compact, spread
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, DepthwiseConvolution, LayerScale, Normalisation
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

_STAGES = ((3, 96), (3, 192), (9, 384), (3, 768))  # blocks and channels
_EXPANSION = 4  # times as many channels within a block
_NORMALISATION = Normalisation("layer", epsilon=1e-6)


def conv_next_tiny(problem: Problem) -> Genome:
    """Return ConvNeXt-tiny; its first convolution, which makes the image four times smaller, counts as two halvings."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, 1 + len(_STAGES))
    net.add(_NORMALISATION, *fit.towers(net, lambda entry: _tower(net, fit, entry)))
    return net.genome()


def _tower(net: NetworkBuilder, fit: Adaptation, tip: int) -> int:
    for place, (blocks, channels) in enumerate(_STAGES):
        level = place + 2
        if place == 0:
            first, second = (spread(fit.step(level), fit.problem.rank) for level in (1, 2))
            step = compact(tuple(a * b for a, b in zip(first, second, strict=True)))
            net.add(Convolution(channels, fit.window(4, 0), step, activation="linear"), tip)
            tip = net.add(_NORMALISATION)
        else:
            net.add(_NORMALISATION, tip)
            tip = net.add(Convolution(channels, fit.window(2, level - 1), fit.step(level), activation="linear"))
        for _ in range(blocks):
            tip = _block(net, fit, level, channels, tip)
    return tip


def _block(net: NetworkBuilder, fit: Adaptation, level: int, channels: int, tip: int) -> int:
    net.add(DepthwiseConvolution(fit.window(7, level), activation="linear"), tip)
    net.add(_NORMALISATION)
    net.add(Convolution(_EXPANSION * channels, (1,), activation="gelu"))
    net.add(Convolution(channels, (1,), activation="linear"))
    scaled = net.add(LayerScale())
    return net.add(Activation("linear", join="add"), scaled, tip)
