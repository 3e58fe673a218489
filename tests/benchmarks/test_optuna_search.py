"""Another optimizer in the place of `Evolution`: an Optuna sampler."""

from __future__ import annotations

import pytest

from tests.spaces import SPACES, toy_result

pytest.importorskip("optuna")


@pytest.mark.parametrize("name", ["slots", "a sequence after a prefix", "classes of images"])
def test_an_optuna_sampler_searches_any_space(name: str) -> None:
    from benchmarks.optuna_search import OptunaSearch

    search = OptunaSearch(SPACES[name], seed=1)
    fitness = []
    for _ in range(15):
        individual = search.ask()
        assert SPACES[name].violation(individual.genome) is None
        result = toy_result(individual)
        fitness += [result.fitness] if result.fitness is not None else []
        search.tell(individual, result)
    assert search.best()[1].fitness == max(fitness)
