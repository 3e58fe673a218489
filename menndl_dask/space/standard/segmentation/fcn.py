"""FCN-8s on VGG-16, of Long, Shelhamer and Darrell 2015, doi:10.1109/CVPR.2015.7298965. Pure.

It has no normalisation, as published. The image is padded as much as needed, and not by 100 pixels. The last, eightfold
enlargement is that of the head: bilinear in 2-D.
"""

from __future__ import annotations

from menndl_dask.genome.domain import compact, spread
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, Dropout, TransposedConvolution
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.standard.adaptation import Adaptation
from menndl_dask.space.standard.classification.vgg import RATE, STAGES, UNITS, pooled_stages

_WINDOW = 7  # pixels of the first convolution in the place of a fully connected layer


def fcn_8s(problem: Problem) -> Genome:
    """Return FCN-8s: scores of the classes at three sizes, added.

    The kernels of 7 pixels along an axis are smaller where the image has fewer pixels there.
    """
    net, fit = NetworkBuilder(), Adaptation.of(problem, len(STAGES))
    classes = problem.facts.outputs
    poolings = pooled_stages(net, fit, *fit.entries())
    last = len(STAGES)
    window = spread(fit.window(_WINDOW, last), problem.rank)
    net.add(Convolution(UNITS, compact(tuple(map(min, window, fit.size(last))))))
    net.add(Dropout(RATE))
    net.add(Convolution(UNITS, (1,)))
    net.add(Dropout(RATE))
    tip = net.add(Convolution(classes, (1,), activation="linear"))
    for level in (last - 1, last - 2):
        step = fit.step(level + 1)
        if set(step) != {1}:
            kernel = compact(tuple(2 * s if s > 1 else 1 for s in step))
            up = TransposedConvolution(classes, kernel, step, bias=False, activation="linear")
            tip = net.add(up, tip)
        score = net.add(Convolution(classes, (1,), activation="linear"), poolings[level - 1])
        tip = net.add(Activation("linear", join="add"), tip, score)
    return net.genome()
