"""Standard networks, with which the best network of a search is compared, as genomes. Runs on the driver.

A search is worth its cost only if its network is better than the first that one would try. The standard network is
trained and measured like any other genome, with the same budget.
"""

from __future__ import annotations

from collections.abc import Callable

from menndl_dask.errors import UserError
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.standard.residual_network import residual_network
from menndl_dask.space.standard.u_net import u_net

_MINIMUM_EXTENT = 4  # an image is not halved below this many pixels
_STANDARD: dict[str, tuple[str, Callable[[int, int], Genome]]] = {
    "segmentation": ("U-Net, small", u_net),
    "classification": ("ResNet, small", residual_network),
    "regression": ("ResNet, small", residual_network),
}


def standard_network(problem: Problem) -> tuple[str, Genome]:
    """Return the name and the genome of the network that is standard for a problem's task.

    Raises
    ------
    UserError
        If the images are too small for it.
    """
    extent = min(min(shape[:-1]) for shape in problem.facts.input_shapes)
    if extent < 2:
        raise UserError(f"standard network: expected images of at least 2 pixels a side, got {extent}")
    depth = 0
    while depth < 3 and extent % 2 == 0 and extent // 2 >= _MINIMUM_EXTENT:
        extent //= 2
        depth += 1
    name, network = _STANDARD[problem.task]
    return name, network(depth, len(problem.facts.input_shapes))
