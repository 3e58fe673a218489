"""Stages: an axis whose pixels are far apart is halved later than the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.problem import Budget, Problem
from menndl_dask.space.stages import is_uneven, stages, usual_normalisation
from tests.problems import problem


def _spaced(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Problem:
    of = problem("segmentation", (shape,))
    return replace(of, facts=replace(of.facts, spacing=spacing))


@pytest.mark.parametrize(
    ("shape", "spacing", "factors", "kernels"),
    [
        ((32, 32, 1), (), [(2, 2)] * 3, [(3, 3)] * 4),
        ((24, 32, 32, 1), (1.0, 1.0, 1.0), [(2, 2, 2)] * 2 + [(1, 2, 2)], [(3, 3, 3)] * 4),
        # 45 nm between sections, 4 nm within them
        ((16, 64, 64, 1), (45.0, 4.0, 4.0), [(1, 2, 2)] * 3, [(1, 3, 3)] * 3 + [(3, 3, 3)]),
        ((16, 64, 64, 1), (2.0, 1.0, 1.0), [(1, 2, 2), (2, 2, 2), (2, 2, 2)], [(1, 3, 3)] + [(3, 3, 3)] * 3),
        ((8, 64, 1), (), [(2, 2), (1, 2), (1, 2)], [(3, 3)] * 4),
        ((12, 20, 1), (), [(2, 2)], [(3, 3)] * 2),  # nearly as high as wide: halved along both axes or none
        ((7, 7, 1), (), [], [(3, 3)]),
    ],
)
def test_the_finest_axes_are_halved_first(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    factors: list[tuple[int, ...]],
    kernels: list[tuple[int, ...]],
) -> None:
    found = stages(_spaced(shape, spacing), (4, 4, 4))
    assert [stage.factors for stage in found[1:]] == factors
    assert [stage.kernel for stage in found] == kernels


def test_odd_sizes_are_halved_and_rounded_up() -> None:
    found = stages(problem("segmentation", ((21, 13, 1),)), (4, 4, 4))
    assert [stage.size for stage in found] == [(21, 13), (11, 7)]


def test_axes_may_differ_in_volumes_and_where_sizes_or_spacings_do() -> None:
    assert is_uneven(problem(shapes=((8, 8, 8, 1),)))
    assert is_uneven(problem(shapes=((16, 40, 1),)))
    assert is_uneven(_spaced((16, 16, 1), (3.0, 1.0)))
    assert not is_uneven(problem(shapes=((16, 24, 1),)))
    assert not is_uneven(problem(shapes=((64, 1),)))


@pytest.mark.parametrize(
    ("task", "shape", "batch", "normalisation"),
    [
        ("classification", (16, 16, 1), 32, "batch"),
        ("classification", (16, 16, 1), 2, "group"),
        ("segmentation", (16, 16, 1), 32, "batch"),
        ("segmentation", (16, 16, 1), 2, "batch"),
        ("segmentation", (16, 16, 1), 1, "instance"),
        ("segmentation", (8, 16, 16, 1), 2, "batch"),
    ],
)
def test_the_normalisation_suits_the_batch(
    task: str, shape: tuple[int, ...], batch: int, normalisation: str
) -> None:
    assert usual_normalisation(problem(task, (shape,), budget=Budget(1, batch_size=batch))) == normalisation
