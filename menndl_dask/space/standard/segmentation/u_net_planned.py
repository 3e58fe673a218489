"""The planned U-Net: what nnU-Net configures for images. Isensee et al. 2021, doi:10.1038/s41592-020-01008-z. Pure.

Its rules: each axis is halved as long as about 4 pixels are left, axes with distant pixels later; the numbers of
kernels double from 32 to at most 320 in volumes and 512 in other images; convolutions are followed by instance
normalisation and leaky ReLU; strides make the image smaller, transposed convolutions enlarge it. The loss, the patches
and the additional outputs for training are not part of the network.
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import stages
from menndl_dask.space.standard.segmentation.u_shape import UShape

_HALVINGS, _LEAST = 12, 4
_WIDTH = 32  # kernels at full resolution
_SLOPE = 0.01  # of negative values
_MOST = {1: 512, 2: 512, 3: 320}  # kernels, by the number of axes


def u_net_planned(problem: Problem) -> Genome:
    """Return the U-Net that nnU-Net's rules plan for the sizes and the spacing of the images."""
    found, most = stages(problem, (_LEAST,) * _HALVINGS), _MOST[problem.rank]
    widths = [min(most, _WIDTH * 2**place) for place in range(len(found))]

    def convolve(net: NetworkBuilder, place: int, step: tuple[int, ...], *sources: int) -> int:
        window, kernels = found[place].window, widths[place]
        for stride in (step, (1,)):
            net.add(Convolution(kernels, window, stride, normalisation="instance", activation="linear"), *sources)
            sources = (net.add(Activation("leaky_relu", slope=_SLOPE)),)
        return sources[0]

    def encode(net: NetworkBuilder, place: int, *sources: int) -> int:
        return convolve(net, place, found[place].step, *sources)

    def decode(net: NetworkBuilder, place: int, *sources: int) -> int:
        return convolve(net, place, (1,), *sources)

    return UShape(found, encode, decode, widths, bias=False).genome(len(problem.facts.input_shapes))
