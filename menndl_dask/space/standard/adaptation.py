"""Adaptation of published networks to the images of a problem: their size, axes, spacing and views. Pure.

Published networks expect images of a certain size, such as 224×224 pixels, and make them smaller several times. For
other images all follow one rule: widths, kernels and the number of layers stay as published, and of the steps that make
the image smaller, the *first* ones are left out, so that enough pixels remain after the last one (4 along each axis by
default). So ResNet-50 halves images of 32 pixels three times and not five times, as is usual for such images. In
volumes a kernel or step has its size along the third axis, too. Axes of uneven images, such as volumes of sections, are
treated each by itself: see `menndl_dask.space.stages`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from menndl_dask.genome.domain import compact
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.genome.layers import GlobalPooling, Pooling
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import Stage, stages, usual_normalisation

_LEAST = 4  # pixels along an axis that are left


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The levels of a published network, each half as large as the one before, for the images of a problem.

    Parameters
    ----------
    problem
        What the network is for.
    levels
        The stages of the levels, from full resolution on: as many as the network halves its images, and one.
    normalisation
        In the place of batch normalisation: it is poor in small batches.
    """

    problem: Problem
    levels: tuple[Stage, ...]
    normalisation: str

    @classmethod
    def of(cls, problem: Problem, halvings: int, least: int = _LEAST) -> Self:
        """Return the levels of a network that halves its images so many times, and leaves at least so many pixels."""
        found = stages(problem, (least,) * halvings)
        left_out = halvings + 1 - len(found)
        return cls(problem, (*found[:1] * left_out, *found), usual_normalisation(problem))

    def step(self, level: int) -> Shape:
        """Return how many times smaller the image is than on the level before, as a gene has it; 1 on the first."""
        same = self.levels[level] is self.levels[max(0, level - 1)]
        return (1,) if same else self.levels[level].step

    def window(self, pixels: int, level: int) -> Shape:
        """Return the size of a kernel of so many pixels; one pixel along axes whose pixels are too far apart."""
        return compact(tuple(pixels if k > 1 else 1 for k in self.levels[level].kernel))

    def size(self, level: int) -> Shape:
        """Return the pixels along each axis on a level."""
        return self.levels[level].size

    def pooled(self, net: NetworkBuilder, pixels: int, level: int, *sources: int, method: str = "max") -> int:
        """Add a pooling that leads to a level, where it is not left out; return the index of the last layer."""
        step = self.step(level)
        if set(step) == {1}:
            return sources[0] if sources else len(net.layers) - 1
        window = tuple(pixels if s > 1 else 1 for s in step)
        return net.add(Pooling(window, step, method), *sources)

    def entries(self) -> list[int]:
        """Return the views, as sources."""
        return [-1 - view for view in range(len(self.problem.facts.input_shapes))]

    def towers(self, net: NetworkBuilder, tower: Callable[[int], int], *, end: Layer | None = None) -> tuple[int, ...]:
        """Add a tower for each view, and behind it a layer that ends it (a global average by default).

        Returns
        -------
        tuple of int
            The ends, as sources of the layers that read all of them.
        """
        tips = [tower(entry) for entry in self.entries()]
        return tuple(net.add(GlobalPooling() if end is None else end, tip) for tip in tips)
