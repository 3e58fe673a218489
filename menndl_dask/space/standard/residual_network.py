"""The standard network for classification and regression: a small residual network. Pure."""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, GlobalPooling
from menndl_dask.space.network_builder import NetworkBuilder

_WIDTH = 16  # kernels at full resolution


def residual_network(depth: int, views: int) -> Genome:
    """Return a residual network that halves the image `depth` times, with one block a stage and a tower for each view.

    He et al. 2016, doi:10.1109/CVPR.2016.90.
    """
    net = NetworkBuilder()
    ends = [_tower(net, -1 - view, depth) for view in range(views)]
    if views > 1:
        net.add(Activation("linear"), *[net.add(GlobalPooling(), end) for end in ends])
    return net.genome().canonical()


def _tower(net: NetworkBuilder, view: int, depth: int) -> int:
    tip = net.add(_convolution(_WIDTH), view)
    for stage in range(depth + 1):
        kernels, stride = _WIDTH * 2**stage, 1 if stage == 0 else 2
        net.add(_convolution(kernels, stride), tip)
        main = net.add(_convolution(kernels, activation="linear"))
        short = tip if stage == 0 else net.add(_convolution(kernels, stride, 1, "linear"), tip)
        tip = net.add(Activation("relu", join="add"), main, short)
    return tip


def _convolution(kernels: int, stride: int = 1, size: int = 3, activation: str = "relu") -> Convolution:
    return Convolution(kernels, (size,), (stride,), normalisation="batch", activation=activation)
