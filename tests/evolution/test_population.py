"""Populations: who is alive, and how members compare."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.population import Member, Population, crowding, dominates, pareto_ranks, standing
from menndl_dask.evolution.selection import ageing, elitist
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from tests.spaces import Step

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25)


def member(number: int, *values: float, violation: float = 0.0) -> Member:
    return Member(Individual(number, Genome((Step(),))), Result(values[0]), tuple(values), violation)


def test_a_population_never_exceeds_its_capacity() -> None:
    population = Population(elitist, 3)
    for number in range(10):
        population.add(member(number, float(number % 7)))
        assert len(population) <= 3
    assert [m.values[0] for m in population.ranked()] == [6.0, 5.0, 4.0]


def test_a_smaller_capacity_takes_effect_with_the_next_member() -> None:
    population = Population(ageing, 5)
    for number in range(5):
        population.add(member(number, 0.0))
    population.capacity = 2
    population.add(member(5, 0.0))
    assert [m.individual.id for m in population.members] == [4, 5]


def test_the_standing_follows_the_fitness_and_the_older_wins_a_tie() -> None:
    assert standing([member(0, 1.0), member(1, 3.0), member(2, 1.0)]) == [1, 0, 2]
    assert standing([]) == []


def test_a_broken_constraint_stands_behind_every_kept_one() -> None:
    members = [member(0, 9.0, violation=0.1), member(1, 1.0), member(2, 8.0, violation=0.05)]
    assert standing(members) == [2, 0, 1]


def test_the_ends_of_a_front_stand_before_its_crowded_middle() -> None:
    members = [member(0, 0.0, 3.0), member(1, 1.4, 1.6), member(2, 1.5, 1.5), member(3, 3.0, 0.0), member(4, 0.0, 0.0)]
    places = standing(members)
    assert {places[0], places[3]} == {0, 1}
    assert places[4] == 4


@given(ROWS)
def test_no_row_of_the_first_rank_is_dominated_and_every_other_is(rows: list[tuple[int, int]]) -> None:
    ranks = pareto_ranks(np.array(rows, dtype=float))
    for row, rank in zip(rows, ranks, strict=True):
        dominated_by = [int(r) for other, r in zip(rows, ranks, strict=True) if dominates(other, row)]
        assert max(dominated_by, default=-1) == rank - 1


@given(ROWS)
def test_crowding_is_infinite_at_the_ends_of_each_rank(rows: list[tuple[int, int]]) -> None:
    values = np.array(rows, dtype=float)
    ranks = pareto_ranks(values)
    distance = crowding(values, ranks)
    assert (distance >= 0).all()
    for rank in np.unique(ranks):
        assert np.isinf(distance[ranks == rank]).any()


@given(ROWS)
def test_places_are_a_permutation(rows: list[tuple[int, int]]) -> None:
    members = [member(i, float(a), float(b)) for i, (a, b) in enumerate(rows)]
    assert sorted(standing(members)) == list(range(len(rows)))
