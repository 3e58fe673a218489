"""Published networks that suit a search, made narrower until they keep its limits. Runs on the driver."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import named_network
from menndl_dask.text import quantity

_WHOLE = ("mobilenet_v2", "resnet18")
_PIXELS = {3: ("unet_planned", "unet_3d")}
_PIXELS_2D = ("unet_planned", "unet_plus_plus")
_SHARES = (1, 2, 4, 8)  # of the published width: one in so many channels
_LEAST = 8  # channels that are left


def suitable_networks(problem: Problem, space: SearchSpace) -> list[tuple[Genome, str]]:
    """Return published networks for a problem that keep the limits of a space, each with a note on its width.

    One that is too large is made narrower: half, a quarter or an eighth of its channels. One that is too large even
    then, or does not exist for such images, is left out.
    """
    names = _PIXELS.get(problem.rank, _PIXELS_2D) if problem.by_pixel else _WHOLE
    found = []
    for name in names:
        try:
            title, genome = named_network(name, problem)
        except UserError:  # the images are too small
            continue
        for share in _SHARES:
            narrow = narrowed(genome, share)
            cost = _cost(narrow, problem, space)
            if cost:
                width = "as published" if share == 1 else f"at 1/{share} of its width"
                found.append((narrow, f"{title} {width}, {cost}"))
                break
    return found


def narrowed(genome: Genome, share: int) -> Genome:
    """Return a network with one in `share` channels of each layer, but no fewer than 8 and no more than it had.

    >>> from menndl_dask.genome.layers import Convolution
    >>> [gene.kernels for gene in narrowed(Genome((Convolution(64), Convolution(10))), 4).genes]
    [16, 8]
    """
    return genome if share == 1 else Genome(tuple(_narrow(gene, share) for gene in genome.genes))


def _narrow(gene: Gene, share: int) -> Any:
    if isinstance(gene, Cell):
        return replace(gene, body=tuple(_narrow(layer, share) for layer in gene.body))
    widths = {f.name: getattr(gene, f.name) for f in fields(gene) if f.name in ("kernels", "units")}
    narrow = {name: min(width, max(_LEAST, width // share)) for name, width in widths.items()}
    return replace(gene, **narrow) if narrow else gene


def _cost(genome: Genome, problem: Problem, space: SearchSpace) -> str:
    """Return the cost of a network in words; empty if it cannot be built, or exceeds a limit of the space."""
    rules = space.rules
    try:
        cost = cost_of(genome, problem)
    except InfeasibleError:  # channels that are joined no longer agree
        return ""
    most = (rules.max_parameters, rules.max_flops) if rules is not None else (float("inf"), float("inf"))
    if cost.parameters > most[0] or cost.flops_forward > most[1]:
        return ""
    return f"{quantity(cost.parameters)} parameters and {quantity(cost.flops_forward)} FLOPs"
