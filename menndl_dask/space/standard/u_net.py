"""The standard network for segmentation: a small U-Net. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling, Upsampling
from menndl_dask.space.network_builder import NetworkBuilder

_WIDTH = 16  # kernels at full resolution


def u_net(depth: int, views: int) -> Genome:
    """Return a U-Net that halves the image `depth` times, with two convolutions a stage; the views are concatenated.

    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28.
    """
    net = NetworkBuilder()
    skips: list[int] = []
    entry: Sequence[int] = [-1 - v for v in range(views)]
    for stage in range(depth + 1):
        net.add(_convolution(stage), *entry)
        tip = net.add(_convolution(stage))
        entry = ()
        if stage < depth:
            skips.append(tip)
            net.add(Pooling((2,), (2,)))
    for stage in reversed(range(depth)):
        up = net.add(Upsampling((2,)))
        net.add(_convolution(stage), up, skips[stage])
        net.add(_convolution(stage))
    return net.genome().canonical()


def _convolution(stage: int) -> Convolution:
    return Convolution(_WIDTH * 2**stage, (3,), normalisation="batch")
