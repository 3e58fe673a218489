"""3-D U-Net of Çiçek et al. 2016, doi:10.1007/978-3-319-46723-8_49. Pure.

Convolutions are padded. The numbers of channels double before each pooling, not behind it.
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import stages, usual_normalisation
from menndl_dask.space.standard.segmentation.u_shape import UShape

_HALVINGS, _LEAST = 3, 4
_WIDTH = 32  # kernels of the first convolution


def u_net_3d(problem: Problem) -> Genome:
    """Return the 3-D U-Net; small images are halved less often, as long as 4 pixels are left."""
    found, normalisation = stages(problem, (_LEAST,) * _HALVINGS), usual_normalisation(problem)

    def convolve(net: NetworkBuilder, place: int, kernels: tuple[int, int], *sources: int) -> int:
        first, second = (Convolution(n, found[place].window, normalisation=normalisation) for n in kernels)
        net.add(first, *sources)
        return net.add(second)

    def encode(net: NetworkBuilder, place: int, *sources: int) -> int:
        if place:
            sources = (net.add(Pooling(found[place].step, found[place].step), *sources),)
        return convolve(net, place, (_WIDTH * 2**place, 2 * _WIDTH * 2**place), *sources)

    def decode(net: NetworkBuilder, place: int, *sources: int) -> int:
        return convolve(net, place, (2 * _WIDTH * 2**place,) * 2, *sources)

    kernels = [4 * _WIDTH * 2**place for place in range(len(found))]  # as many as channels that it reads
    return UShape(found, encode, decode, kernels, bias=False).genome(len(problem.facts.input_shapes))
