"""U-Net++ of Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1, without additional outputs for training. Pure.

Convolutions are padded, and normalised by batch.
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling, TransposedConvolution
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import stages, usual_normalisation

_HALVINGS, _LEAST = 4, 4
_WIDTH = 32  # kernels at full resolution


def u_net_plus_plus(problem: Problem) -> Genome:
    """Return U-Net++; small images are halved less often, as long as 4 pixels are left."""
    net, found, normalisation = NetworkBuilder(), stages(problem, (_LEAST,) * _HALVINGS), usual_normalisation(problem)
    widths = [_WIDTH * 2**place for place in range(len(found))]
    rows: list[list[int]] = []  # the nodes of each stage so far

    def convolve(place: int, *sources: int) -> int:
        layer = Convolution(widths[place], found[place].window, normalisation=normalisation)
        net.add(layer, *sources)
        return net.add(layer)

    for place, stage in enumerate(found):
        entry = [-1 - view for view in range(len(problem.facts.input_shapes))]
        if place:
            entry = [net.add(Pooling(stage.step, stage.step), rows[-1][0])]
        rows.append([convolve(place, *entry)])
        for above in reversed(range(place)):  # the nodes that this stage allows
            step = found[above + 1].step
            up = net.add(TransposedConvolution(widths[above], step, step, activation="linear"), rows[above + 1][-1])
            rows[above].append(convolve(above, *rows[above], up))
    return net.genome()
