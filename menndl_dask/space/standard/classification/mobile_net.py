"""MobileNetV2 of Sandler et al. 2018, doi:10.1109/CVPR.2018.00474, with the width 1. Pure."""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.standard.classification.inverted_residual import Blocks, InvertedResidualNetwork

_STAGES = (  # table 2 of the article
    Blocks(1, 16, expansion=1),
    Blocks(2, 24, moves=True),
    Blocks(3, 32, moves=True),
    Blocks(4, 64, moves=True),
    Blocks(3, 96),
    Blocks(3, 160, moves=True),
    Blocks(1, 320),
)


def mobile_net_v2(problem: Problem) -> Genome:
    """Return MobileNetV2."""
    return InvertedResidualNetwork(_STAGES, "relu6").genome(problem)
