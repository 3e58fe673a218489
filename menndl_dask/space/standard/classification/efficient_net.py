"""EfficientNet-B0 of Tan and Le 2019, doi:10.48550/arXiv.1905.11946. Pure.

The activation within squeeze-and-excitation is ReLU, as where that was published, and not SiLU. Blocks are not left out
at random while training (stochastic depth).
"""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.standard.classification.inverted_residual import Blocks, InvertedResidualNetwork

_STAGES = (  # table 1 of the article
    Blocks(1, 16, expansion=1),
    Blocks(2, 24, moves=True),
    Blocks(2, 40, moves=True, pixels=5),
    Blocks(3, 80, moves=True),
    Blocks(3, 112, pixels=5),
    Blocks(4, 192, moves=True, pixels=5),
    Blocks(1, 320),
)
_RATE = 0.2  # of the dropout


def efficient_net_b0(problem: Problem) -> Genome:
    """Return EfficientNet-B0."""
    return InvertedResidualNetwork(_STAGES, "silu", gates=True, dropout=_RATE).genome(problem)
