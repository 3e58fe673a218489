"""VGG-16, configuration D of Simonyan and Zisserman 2015, doi:10.48550/arXiv.1409.1556. Pure.

It has no normalisation, as published.
"""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Dropout, Flatten, FullyConnected
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation

STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions and their kernels, before each pooling
UNITS = 4096  # of the fully connected layers
RATE = 0.5  # of the dropout behind each of them


def vgg_16(problem: Problem) -> Genome:
    """Return VGG-16."""
    net, fit = NetworkBuilder(), Adaptation.of(problem, len(STAGES))
    ends = fit.towers(net, lambda entry: pooled_stages(net, fit, entry)[-1], end=Flatten())
    net.add(FullyConnected(UNITS), *ends)
    net.add(Dropout(RATE))
    net.add(FullyConnected(UNITS))
    net.add(Dropout(RATE))
    return net.genome()


def pooled_stages(net: NetworkBuilder, fit: Adaptation, *entry: int) -> Sequence[int]:
    """Add the convolutions and poolings; return the index of each pooling, or of what is in its place."""
    found: list[int] = []
    for place, (convolutions, kernels) in enumerate(STAGES):
        for _ in range(convolutions):
            entry = (net.add(Convolution(kernels, fit.window(3, place)), *entry),)
        found.append(fit.pooled(net, 2, place + 1, *entry))
        entry = (found[-1],)
    return found
