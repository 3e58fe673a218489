"""U-Net at full width, of Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28. Pure.

Convolutions are padded, and normalised by batch, which was usual soon afterwards.
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import stages, usual_normalisation
from menndl_dask.space.standard.segmentation.u_shape import UShape

_HALVINGS, _LEAST = 4, 4
_WIDTH = 64  # kernels at full resolution


def u_net_full(problem: Problem) -> Genome:
    """Return U-Net; small images are halved less often, as long as 4 pixels are left, and the last stages left out."""
    found, normalisation = stages(problem, (_LEAST,) * _HALVINGS), usual_normalisation(problem)
    widths = [_WIDTH * 2**place for place in range(len(found))]

    def convolve(net: NetworkBuilder, place: int, *sources: int) -> int:
        layer = Convolution(widths[place], found[place].window, normalisation=normalisation)
        net.add(layer, *sources)
        return net.add(layer)

    def encode(net: NetworkBuilder, place: int, *sources: int) -> int:
        if place:
            sources = (net.add(Pooling(found[place].step, found[place].step), *sources),)
        return convolve(net, place, *sources)

    return UShape(found, encode, convolve, widths).genome(len(problem.facts.input_shapes))
