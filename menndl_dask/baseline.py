"""Standard networks, with which the best network of a search is compared, as genomes. Runs on the driver.

A search is worth its cost only if its network is better than the first that one would try. The standard network is
trained and measured like any other genome, with the same budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.errors import UserError
from menndl_dask.genome import Genome
from menndl_dask.layers import Activation, Convolution, GlobalPooling, Pooling, Upsampling
from menndl_dask.network_layer import Layer
from menndl_dask.problem import Problem
from menndl_dask.topology import Sources

_MINIMUM_EXTENT = 4  # an image is not halved below this many pixels


def standard_network(problem: Problem) -> tuple[str, Genome]:
    """Return the name and the genome of the network that is standard for a problem's task.

    Segmentation: a U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28) with two convolutions a stage
    and 16 kernels at full resolution. Classification and regression: a residual network (He et al. 2016,
    doi:10.1109/CVPR.2016.90) with one block a stage and 16 kernels in the first.

    Raises
    ------
    UserError
        If the images are too small for it.
    """
    extent = min(min(shape[:-1]) for shape in problem.facts.input_shapes)
    if extent < 2:
        raise UserError(f"standard network: expected images of at least 2 pixels a side, got {extent}")
    if problem.task == "segmentation":
        return "U-Net, small", _u_net(_depth(extent, 3), 16, len(problem.facts.input_shapes))
    return "ResNet, small", _residual_network(_depth(extent, 3), 16, len(problem.facts.input_shapes))


def _depth(extent: int, most: int) -> int:
    """Return how often an image of this size can be halved, at most `most`."""
    depth = 0
    while depth < most and extent % 2 == 0 and extent // 2 >= _MINIMUM_EXTENT:
        extent //= 2
        depth += 1
    return depth


class _Stack:
    """Layers with their sources, one added after the other."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.sources: list[Sources] = []

    def add(self, layer: Layer, *sources: int) -> int:
        self.layers.append(layer)
        self.sources.append(sources or (len(self.layers) - 2,))
        return len(self.layers) - 1

    def genome(self) -> Genome:
        return Genome.connect(self.layers, self.sources).canonical()


def _convolution(kernels: int, stride: int = 1, size: int = 3, activation: str = "relu") -> Convolution:
    return Convolution(
        kernels, (size,), (stride,), normalisation="batch", activation=activation, padding="same"
    )


def _u_net(depth: int, width: int, views: int) -> Genome:
    net = _Stack()
    skips: list[int] = []
    entry: Sequence[int] = [-1 - v for v in range(views)]
    for stage in range(depth + 1):
        net.add(_convolution(width * 2**stage), *entry)
        tip = net.add(_convolution(width * 2**stage))
        entry = ()
        if stage < depth:
            skips.append(tip)
            net.add(Pooling((2,), (2,)))
    for stage in reversed(range(depth)):
        up = net.add(Upsampling((2,)))
        net.add(_convolution(width * 2**stage), up, skips[stage])
        net.add(_convolution(width * 2**stage))
    return net.genome()


def _residual_network(depth: int, width: int, views: int) -> Genome:
    net = _Stack()
    ends = [_residual_tower(net, -1 - view, depth, width) for view in range(views)]
    if views > 1:
        net.add(Activation("linear"), *[net.add(GlobalPooling(), end) for end in ends])
    return net.genome()


def _residual_tower(net: _Stack, view: int, depth: int, width: int) -> int:
    tip = net.add(_convolution(width), view)
    for stage in range(depth + 1):
        kernels, stride = width * 2**stage, 1 if stage == 0 else 2
        net.add(_convolution(kernels, stride), tip)
        main = net.add(_convolution(kernels, activation="linear"))
        short = tip if stage == 0 else net.add(_convolution(kernels, stride, 1, "linear"), tip)
        tip = net.add(Activation("relu", join="add"), main, short)
    return tip
