"""Stages of a network: where the image is halved, how large kernels are, and which normalisation suits. Pure.

In volumes of serial sections the pixels are often farther apart from section to section than within one. There the
sections are halved first, and kernels lie within a section, until the distances are within a factor of two of each
other: the rule of nnU-Net, Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from menndl_dask.genome.domain import compact
from menndl_dask.genome.layer import Shape
from menndl_dask.problem import Problem

# images for classes or values in a batch; with fewer a normalisation by batch is poor. A patch whose pixels are
# labelled has thousands of values: with 4 volumes of 16 × 32 × 32 voxels, and short trainings, batch normalisation was
# better than by instance
_SMALL_BATCH = 8
_NEAR = 2.0  # distances of pixels along two axes are alike within this factor


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: the image there, and what leads to it.

    Parameters
    ----------
    size, spacing
        Pixels along each axis, and their distances.
    factors
        How many times smaller the image is than in the stage before, along each axis.
    kernel
        Pixels of a kernel along each axis: 3, or 1 where the distances are too large.
    together
        Whether an image is halved along all axes or none.
    """

    size: Shape
    spacing: tuple[float, ...]
    factors: Shape
    kernel: Shape
    together: bool

    @classmethod
    def first(cls, problem: Problem, size: Shape) -> Self:
        """Return the stage of full resolution of an image of these sizes."""
        spacing = problem.facts.spacing or (1.0,) * len(size)
        return cls(size, spacing, (1,) * len(size), _kernel(spacing, (1,) * len(size)), not is_uneven(problem))

    def halved(self, least: int) -> Stage | None:
        """Return the next stage; None if no axis can be halved so that at least so many pixels are left."""
        free = [n // 2 >= least for n in self.size]
        if not any(free) or (self.together and not all(free)):
            return None
        finest = min(s for s, f in zip(self.spacing, free, strict=True) if f)
        factors = tuple(2 if f and s < _NEAR * finest else 1 for f, s in zip(free, self.spacing, strict=True))
        size = tuple(-(-n // f) for n, f in zip(self.size, factors, strict=True))
        spacing = tuple(s * f for s, f in zip(self.spacing, factors, strict=True))
        return replace(self, size=size, spacing=spacing, factors=factors, kernel=_kernel(spacing, self.kernel))

    @property
    def step(self) -> Shape:
        """The factors as a gene has them."""
        return compact(self.factors)

    @property
    def window(self) -> Shape:
        """The size of a kernel as a gene has it."""
        return compact(self.kernel)


def stages(problem: Problem, least: Sequence[int]) -> list[Stage]:
    """Return the stages of a network: full resolution, and one for each number of pixels that is left at least there.

    >>> from menndl_dask.problem import Facts
    >>> sections = Facts(input_shapes=((16, 64, 64, 1),), outputs=2, spacing=(40.0, 8.0, 8.0))
    >>> for stage in stages(Problem("sections.zarr", "segmentation", sections), (4, 4, 4)):
    ...     print(stage.size, stage.factors, stage.kernel)
    (16, 64, 64) (1, 1, 1) (1, 3, 3)
    (16, 32, 32) (1, 2, 2) (1, 3, 3)
    (16, 16, 16) (1, 2, 2) (3, 3, 3)
    (8, 8, 8) (2, 2, 2) (3, 3, 3)
    """
    shapes = [shape[:-1] for shape in problem.facts.input_shapes]
    found = [Stage.first(problem, tuple(map(min, *shapes)) if len(shapes) > 1 else shapes[0])]
    for pixels in least:
        following = found[-1].halved(pixels)
        if following is None:
            break
        found.append(following)
    return found


def is_uneven(problem: Problem) -> bool:
    """Tell whether the axes of the images may be treated differently: volumes, uneven spacings or long images."""
    spacing, sizes = problem.facts.spacing, [shape[:-1] for shape in problem.facts.input_shapes]
    far = bool(spacing) and max(spacing) >= _NEAR * min(spacing)
    return problem.rank == 3 or far or any(max(size) > 2 * min(size) for size in sizes)


def usual_normalisation(problem: Problem) -> str:
    """Return the normalisation that suits the number of samples in a batch: small batches of large images have few."""
    if problem.by_pixel:
        return "batch" if problem.budget.batch_size > 1 else "instance"
    return "batch" if problem.budget.batch_size >= _SMALL_BATCH else "group"


def _kernel(spacing: Sequence[float], before: Shape) -> Shape:
    """Return the sizes of kernels; what was 3 in a stage before stays 3."""
    finest = min(spacing)
    return tuple(3 if s < _NEAR * finest or k == 3 else 1 for s, k in zip(spacing, before, strict=True))
