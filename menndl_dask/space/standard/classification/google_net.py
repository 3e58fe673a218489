"""GoogLeNet (Inception v1) of Szegedy et al. 2015, doi:10.1109/CVPR.2015.7298594. Pure.

Batch normalisation is behind each convolution, as in later versions, in the place of the two local response
normalisations. The two additional outputs for training are left out.
"""

from __future__ import annotations

from functools import partial

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, Dropout, Pooling
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

# the modules between two poolings. Kernels of a module: of single pixels, before and of 3×3, before and of 5×5 pixels,
# behind the pooling
_MODULES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
_RATE = 0.4  # of the dropout


def google_net(problem: Problem) -> Genome:
    """Return GoogLeNet."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, 5)
    convolution = partial(Convolution, normalisation=fit.normalisation)

    def tower(tip: int) -> int:
        net.add(convolution(64, fit.window(7, 0), fit.step(1)), tip)
        tip = fit.pooled(net, 3, 2)
        net.add(convolution(64, (1,)), tip)
        tip = net.add(convolution(192, fit.window(3, 2)))
        for place, modules in enumerate(_MODULES):
            tip = fit.pooled(net, 3, place + 3, tip)
            for kernels in modules:
                tip = _module(net, fit, place + 3, kernels, tip)
        return tip

    net.add(Dropout(_RATE), *fit.towers(net, tower))
    return net.genome()


def _module(net: NetworkBuilder, fit: Adaptation, level: int, kernels: tuple[int, ...], tip: int) -> int:
    """Add four branches side by side."""
    one, before_three, three, before_five, five, behind_pooling = kernels
    convolution = partial(Convolution, normalisation=fit.normalisation)
    branches = [net.add(convolution(one, (1,)), tip)]
    for before, after, pixels in ((before_three, three, 3), (before_five, five, 5)):
        net.add(convolution(before, (1,)), tip)
        branches.append(net.add(convolution(after, fit.window(pixels, level))))
    net.add(Pooling(fit.window(3, level), (1,)), tip)
    branches.append(net.add(convolution(behind_pooling, (1,))))
    return net.add(Activation("linear"), *branches)
