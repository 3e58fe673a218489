"""Random search: drawn networks, the time that they may take, and resumption."""

from __future__ import annotations

import pytest

from menndl_dask.errors import RunError
from menndl_dask.evolution.evolution import Evolution, SpaceExhausted
from menndl_dask.evolution.random_search import RandomSearch
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

SPACE = SearchSpace.image(problem())


def test_it_proposes_networks_until_they_have_taken_the_time() -> None:
    search = RandomSearch(SPACE, 3, seconds=10.0)
    asked = search.ask(4)
    assert [individual.id for individual in asked] == [0, 1, 2, 3]
    assert len({individual.genome.key for individual in asked}) == 4
    for individual in asked[:3]:
        search.tell(individual, Result(0.1 * individual.id, times={"total": 3.0}))
    assert search.ask(1)[0].id == 4
    search.tell(asked[3], Result.failed("error", "a failure takes time, too"))
    search.tell(asked[0], Result(0.0, times={"total": 1.0}))
    with pytest.raises(SpaceExhausted, match="evaluated for 10 s of a worker"):
        search.ask(1)
    assert search.best()[0].id == 2


def test_a_resumed_search_proposes_the_networks_that_it_would_have_proposed() -> None:
    whole, resumed = RandomSearch(SPACE, 3, 1.0).ask(5), RandomSearch(SPACE, 3, 1.0)
    for individual in whole[:3]:
        resumed.recall(individual)
    assert [individual.genome for individual in resumed.ask(2)] == [individual.genome for individual in whole[3:]]


def test_it_draws_other_networks_than_evolution_with_the_same_seed() -> None:
    drawn = {individual.genome.key for individual in RandomSearch(SPACE, 3, 1.0).ask(8)}
    assert not drawn & {individual.genome.key for individual in Evolution(SPACE, seed=3).ask(8)}


def test_before_the_first_success_there_is_no_best_network() -> None:
    with pytest.raises(RunError, match="no network has succeeded yet"):
        RandomSearch(SPACE, 0, 1.0).best()
