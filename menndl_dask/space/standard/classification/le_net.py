"""LeNet-5 of LeCun et al. 1998, doi:10.1109/5.726791. Pure.

Every kernel of the second convolution reads all six channels, where the article left out some to save time, and pooling
has no weights. The last convolution of the article is the first fully connected layer here: it covers its whole image.
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Flatten, FullyConnected
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

_KERNELS, _UNITS = (6, 16), (120, 84)
_SMALLEST = 16  # pixels along an axis, for which kernels of 5 pixels are not padded


def le_net_5(problem: Problem) -> Genome:
    """Return LeNet-5; for images below 16 pixels its kernels are padded."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, len(_KERNELS))
    padding = "valid" if min(fit.size(0)) >= _SMALLEST else "same"

    def tower(tip: int) -> int:
        for place, kernels in enumerate(_KERNELS):
            tip = net.add(Convolution(kernels, fit.window(5, place), padding=padding, activation="tanh"), tip)
            tip = fit.pooled(net, 2, place + 1, tip, method="average")
        return tip

    ends = fit.towers(net, tower, end=Flatten())
    net.add(FullyConnected(_UNITS[0], activation="tanh"), *ends)
    net.add(FullyConnected(_UNITS[1], activation="tanh"))
    return net.genome()
