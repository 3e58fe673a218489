"""Litters: children bred together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.individual import Individual
from menndl_dask.litter import Litter, Operators
from menndl_dask.population import Member
from menndl_dask.result import Result
from menndl_dask.space import SearchSpace
from tests.spaces import SPACES

NAMES = st.sampled_from(sorted(SPACES))


def members(space: SearchSpace, number: int) -> list[Member]:
    rng = np.random.default_rng(0)
    return [Member(Individual(i, space.sample(rng)), Result(float(i)), (float(i),)) for i in range(number)]


def litter(space: SearchSpace, parents: list[Member], seed: int, number: int = 8) -> Litter:
    operators = Operators(space)
    total = sum(operators.priors.values())
    weights = {name: weight / total for name, weight in operators.priors.items()}
    return Litter(operators, parents, weights, 3, number, (seed, 1))


@given(NAMES, st.integers(0, 1000))
def test_the_same_seed_breeds_and_mends_the_same_children_in_any_order(name: str, seed: int) -> None:
    space = SPACES[name]
    first, second = (litter(space, members(space, 6), seed) for _ in range(2))
    forth = [child.mended(space).key for child in first.children]
    back = [child.mended(space).key for child in reversed(second.children)]
    assert forth == back[::-1]
    assert all(space.contains(child.mended(space)) for child in first.children)


def test_children_know_their_parents_and_the_fitter_have_more() -> None:
    space = SPACES["a sequence"]
    bred = litter(space, members(space, 10), 0, number=300).children
    assert len(bred) == 300
    assert {len(child.parents) for child in bred} == {1, 2}
    numbers = [parent.id for child in bred for parent in child.parents]
    assert numbers.count(9) > 5 * max(1, numbers.count(0))


def test_nobody_breeds_nothing_and_one_member_breeds_alone() -> None:
    space = SPACES["slots"]
    assert litter(space, [], 0).children == []
    (member,) = members(space, 1)
    bred = litter(space, [member], 0).children
    assert {parent.id for child in bred for parent in child.parents} == {member.individual.id}
    assert any(child.mended(space).key != member.individual.genome.key for child in bred)


def test_a_litter_is_bred_from_the_population_as_it_was() -> None:
    space = SPACES["slots"]
    parents = members(space, 4)
    put_down = litter(space, parents, 5)
    expected = [child.bred.key for child in litter(space, list(parents), 5).children]
    parents.extend(members(space, 12)[4:])
    assert [child.bred.key for child in put_down.children] == expected


def test_only_children_that_somebody_comes_to_are_bred_and_they_are_the_same() -> None:
    space = SPACES["classes of images"]
    one_by_one, at_once = (litter(space, members(space, 6), 7) for _ in range(2))
    first = next(iter(one_by_one))
    assert len(one_by_one._children) == 1
    assert first.bred == at_once.children[0].bred
    assert [child.seed for child in one_by_one] == [child.seed for child in at_once.children]
    assert [child.bred for child in one_by_one] == [child.bred for child in at_once.children]
