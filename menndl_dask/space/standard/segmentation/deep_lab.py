"""DeepLabv3 on ResNet-50, of Chen et al. 2017, doi:10.48550/arXiv.1706.05587: an atrous spatial pyramid. Pure."""

from __future__ import annotations

from functools import partial

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, Pooling, Upsampling
from menndl_dask.genome.layers.elementwise.normalisation import possible_normalisation
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation
from menndl_dask.space.standard.classification.res_net import stages_of_50

_KERNELS = 256
_HALVINGS, _LEAST = 4, 16  # and 16 pixels left at least: the pyramid looks at an image
_RATES, _SIZE = (6, 12, 18), 33  # dilations where the image has so many pixels there, which is 513 at full resolution


def deep_lab_v3(problem: Problem) -> Genome:
    """Return DeepLabv3; on smaller images its dilations are smaller in proportion."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, _HALVINGS, _LEAST)
    convolution = partial(Convolution, _KERNELS, normalisation=fit.normalisation)
    tip, level = stages_of_50(net, fit, *fit.entries()), _HALVINGS
    size, window = fit.size(level), fit.window(3, level)
    scale = min(1.0, min(size) / _SIZE)
    rates = [max(place + 1, round(rate * scale)) for place, rate in enumerate(_RATES)]
    branches = [net.add(convolution((1,)), tip)]
    branches += [net.add(convolution(window, dilation=(rate,)), tip) for rate in rates]
    net.add(Pooling(size, size, "average", "valid"), tip)
    whole = possible_normalisation(fit.normalisation, (*(1 for _ in size), _KERNELS))
    net.add(convolution((1,), normalisation=whole))
    branches.append(net.add(Upsampling(size)))
    net.add(Activation("linear"), *branches)
    net.add(convolution((1,)))
    net.add(convolution(window))
    return net.genome()
