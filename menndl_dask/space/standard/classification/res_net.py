"""ResNet-18 and ResNet-50 of He et al. 2016, doi:10.1109/CVPR.2016.90. Pure.

As in Keras, convolutions have a bias, and the first convolution of a block makes the image smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Shape
from menndl_dask.genome.layers import Activation, Convolution
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

_WIDTHS = (64, 128, 256, 512)
_WIDER = 4  # times as many kernels at the end of a bottleneck
# adds the branch of a block with convolutions of so many kernels, step, window and dilation behind a layer
Branch = Callable[[NetworkBuilder, "partial[Convolution]", int, Shape, Shape, int, int], int]


def res_net_18(problem: Problem) -> Genome:
    """Return ResNet-18."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, 5)
    ends = fit.towers(net, lambda entry: _residual_stages(net, fit, (2, 2, 2, 2), _plain, entry))
    net.add(Activation("linear"), *ends)
    return net.genome()


def res_net_50(problem: Problem) -> Genome:
    """Return ResNet-50."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, 5)
    ends = fit.towers(net, lambda entry: stages_of_50(net, fit, entry))
    net.add(Activation("linear"), *ends)
    return net.genome()


def stages_of_50(net: NetworkBuilder, fit: Adaptation, *entry: int) -> int:
    """Add ResNet-50 without its head; return the index of its last layer.

    Where the images are halved fewer than five times, the last stage has a dilation of 2 instead.
    """
    return _residual_stages(net, fit, (3, 4, 6, 3), _bottleneck, *entry)


def _residual_stages(net: NetworkBuilder, fit: Adaptation, blocks: Sequence[int], branch: Branch, *entry: int) -> int:
    convolution, wider = partial(Convolution, normalisation=fit.normalisation), _WIDER if branch is _bottleneck else 1
    net.add(convolution(_WIDTHS[0], fit.window(7, 0), fit.step(1)), *entry)
    tip, last = fit.pooled(net, 3, 2), len(fit.levels) - 1
    for place, (kernels, count) in enumerate(zip(_WIDTHS, blocks, strict=True)):
        level, dilation = min(place + 2, last), 1 if place + 2 <= last else 2
        window = fit.window(3, level)
        for block in range(count):
            begins = block == 0 and place > 0
            step = fit.step(level) if begins and dilation == 1 else (1,)
            main = branch(net, convolution, kernels, step, window, dilation, tip)
            if begins or (block == 0 and wider > 1):
                tip = net.add(convolution(kernels * wider, (1,), step, activation="linear"), tip)
            tip = net.add(Activation("relu", join="add"), main, tip)
    return tip


def _plain(
    net: NetworkBuilder, convolution: partial[Convolution], kernels: int, step: Shape, window: Shape, _: int, tip: int
) -> int:
    net.add(convolution(kernels, window, step), tip)
    return net.add(convolution(kernels, window, activation="linear"))


def _bottleneck(
    net: NetworkBuilder, convolution: partial[Convolution], kernels: int, step: Shape, window: Shape, dilation: int,
    tip: int,
) -> int:  # fmt: skip
    net.add(convolution(kernels, (1,), step), tip)
    net.add(convolution(kernels, window, dilation=(dilation,)))
    return net.add(convolution(kernels * _WIDER, (1,), activation="linear"))
