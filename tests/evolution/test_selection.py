"""Selection: which members live on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.population import Member
from menndl_dask.evolution.selection import ageing, cautious_ageing, elitist
from tests.evolution.test_population import member

SURVIVALS = [elitist, ageing, cautious_ageing]


@pytest.mark.parametrize("survival", SURVIVALS)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 8))
def test_as_many_live_on_as_there_is_room(
    survival: Callable[[list[Member], int], list[Member]], fitness: list[int], capacity: int
) -> None:
    members = [member(i, float(f)) for i, f in enumerate(fitness)]
    left = survival(members, capacity)
    assert len(left) == min(capacity, len(members))
    assert [m.individual.id for m in left] == sorted(m.individual.id for m in left)


def test_the_elitist_survival_never_loses_the_best() -> None:
    members = [member(i, f) for i, f in enumerate([5.0, 1.0, 2.0, 3.0])]
    assert [m.values[0] for m in elitist(members, 2)] == [5.0, 3.0]


def test_ageing_lets_the_youngest_live_however_good_the_oldest_is() -> None:
    members = [member(i, f) for i, f in enumerate([5.0, 1.0, 2.0, 3.0])]
    assert [m.values[0] for m in ageing(members, 2)] == [2.0, 3.0]


def test_cautious_ageing_keeps_the_best_quarter_and_the_young() -> None:
    members = [member(i, f) for i, f in enumerate([9.0, 1.0, 2.0, 3.0, 4.0])]
    assert [m.values[0] for m in cautious_ageing(members, 4)] == [9.0, 2.0, 3.0, 4.0]


def test_with_several_objectives_the_front_lives_on() -> None:
    members = [member(0, 0.0, 2.0), member(1, 0.0, 0.0), member(2, 2.0, 0.0), member(3, 1.0, 1.0)]
    assert [m.individual.id for m in elitist(members, 3)] == [0, 2, 3]
