"""Standard networks, with which the best network of a search is compared, as genomes. Runs on the driver.

A search is worth its cost only if its network is better than the first that one would try. The standard network is
trained and measured like any other genome, with the same budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from menndl_dask.errors import UserError
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.stages import Stage, stages, usual_normalisation
from menndl_dask.space.standard.residual_network import residual_network
from menndl_dask.space.standard.u_net import u_net

_LEAST = (4, 4, 4)  # pixels along an axis that are left after each halving
_LEAST_OF_LARGE = 8  # after a fourth one, of images for segmentation
_STANDARD: dict[str, tuple[str, Callable[[Sequence[Stage], int, str], Genome]]] = {
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
    name, network = _STANDARD[problem.task]
    dense = problem.task == "segmentation"
    found = stages(problem, (*_LEAST, _LEAST_OF_LARGE) if dense else _LEAST)
    return name, network(found, len(problem.facts.input_shapes), usual_normalisation(problem))

