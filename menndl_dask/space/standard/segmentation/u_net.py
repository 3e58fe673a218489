"""The standard network for segmentation: a small U-Net. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling, Upsampling
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import Stage

_WIDTH, _MOST = 16, 256  # kernels at full resolution, and at most


def u_net(stages: Sequence[Stage], views: int, normalisation: str) -> Genome:
    """Return a U-Net with two convolutions in each stage; the views are concatenated.

    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28.
    """
    net = NetworkBuilder()
    skips: list[int] = []
    entry: Sequence[int] = [-1 - v for v in range(views)]

    def convolve(place: int, *sources: int) -> int:
        kernels = min(_MOST, _WIDTH * 2**place)
        return net.add(Convolution(kernels, stages[place].window, normalisation=normalisation), *sources)

    for place in range(len(stages)):
        if place:
            step = stages[place].step
            net.add(Pooling(step, step))
        convolve(place, *entry)
        skips.append(convolve(place))
        entry = ()
    for place in reversed(range(len(stages) - 1)):
        up = net.add(Upsampling(stages[place + 1].step))
        convolve(place, up, skips[place])
        convolve(place)
    return net.genome().canonical()
