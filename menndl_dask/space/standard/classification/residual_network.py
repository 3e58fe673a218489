"""The standard network for classification and regression: a small residual network. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, GlobalPooling
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import Stage

_WIDTH = 16  # kernels at full resolution


def residual_network(stages: Sequence[Stage], views: int, normalisation: str) -> Genome:
    """Return a residual network with one block in each stage and a tower for each view.

    He et al. 2016, doi:10.1109/CVPR.2016.90.
    """
    net = NetworkBuilder()
    ends = [_tower(net, -1 - view, stages, normalisation) for view in range(views)]
    if views > 1:
        net.add(Activation("linear"), *[net.add(GlobalPooling(), end) for end in ends])
    return net.genome().canonical()


def _tower(net: NetworkBuilder, view: int, stages: Sequence[Stage], normalisation: str) -> int:
    convolution = partial(Convolution, normalisation=normalisation)
    tip = net.add(convolution(_WIDTH, stages[0].window), view)
    for place, stage in enumerate(stages):
        kernels, step = _WIDTH * 2**place, stage.step
        net.add(convolution(kernels, stage.window, step), tip)
        main = net.add(convolution(kernels, stage.window, activation="linear"))
        short = tip if place == 0 else net.add(convolution(kernels, (1,), step, activation="linear"), tip)
        tip = net.add(Activation("relu", join="add"), main, short)
    return tip
