"""The candidate pool: which offspring is evaluated next."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import pytest

from menndl_dask.evolution.candidate_pool import CandidatePool
from menndl_dask.evolution.offspring import Offspring, Variation
from menndl_dask.evolution.operator_rates import OperatorRates
from menndl_dask.evolution.surrogate.acquisition import Observation, SurrogateModel
from menndl_dask.evolution.surrogate.training_set import TrainingSet
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.objective import Objectives
from menndl_dask.space.space import SearchSpace
from tests.spaces import SPACES, Edge

SLOTS = SearchSpace.slots([Edge] * 10)


def merit(genome: Genome) -> float:
    return float(sum(gene == Edge("skip") for gene in genome.genes))


def fitted(space: SearchSpace) -> SurrogateModel:
    rng = np.random.default_rng(1)
    training_set = TrainingSet(space, Objectives())
    for _ in range(60):
        genome = space.sample(rng)
        training_set.add(Observation(genome, (merit(genome) if space is SLOTS else float(len(genome)),)))
    model = training_set.model()
    assert model is not None
    return model


def offspring(space: SearchSpace, number: int = 8) -> list[Offspring]:
    rng = np.random.default_rng(2)
    individuals = [Individual(i, space.sample(rng)) for i in range(number)]
    return [Offspring(individual.genome, (individual,), "step") for individual in individuals]


def pool_of(
    space: SearchSpace, model: SurrogateModel | None = None, seed: int = 0, known: Container[str] = ()
) -> CandidatePool:
    pool = CandidatePool(space, model or fitted(space), 0.5, np.ones(1), known, np.random.default_rng(seed))
    pool.add(offspring(space))
    return pool


def bred(pool: CandidatePool, space: SearchSpace, seed: int = 0) -> list[Offspring]:
    variation = Variation(space)
    rates = OperatorRates(variation.priors).current()
    return list(variation.breed(pool.leading(4), rates, 2, 8, np.random.default_rng(seed)))


def test_offspring_of_the_best_candidates_are_better_than_these() -> None:
    model, gained = fitted(SLOTS), []
    for seed in range(10):
        pool = pool_of(SLOTS, model)
        before = pool.best()
        for generation in range(3):
            pool.add(bred(pool, SLOTS, 10 * seed + generation))
        after = pool.best()
        assert before is not None and after is not None
        gained.append(merit(after.genome) - merit(before.genome))
    assert np.mean(gained) > 1


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_best_is_in_the_space_and_descends_from_individuals_that_were_evaluated(name: str) -> None:
    space = SPACES[name]
    pool = pool_of(space)
    pool.add(bred(pool, space))
    best = pool.best()
    assert best is not None
    assert space.contains(best.genome)
    assert {parent.id for parent in best.parents} <= set(range(8))


def test_what_is_known_is_not_the_best_and_the_leading_differ() -> None:
    pool, model = pool_of(SLOTS), fitted(SLOTS)
    first = pool.best()
    assert first is not None
    second = pool_of(SLOTS, model, known={first.genome.key}).best()
    assert second is not None and second.genome.key != first.genome.key
    pool.add(offspring(SLOTS))  # the same networks again
    assert len({one.genome.key for one in pool.leading(4)}) == 4
    assert pool_of(SLOTS, model, known={one.genome.key for one in offspring(SLOTS)}).best() is None


def test_the_same_seed_has_the_same_best() -> None:
    space = SPACES["classes of images"]
    first, second = (pool_of(space, seed=7).best() for _ in range(2))
    assert first is not None and second is not None
    assert first.genome.key == second.genome.key
