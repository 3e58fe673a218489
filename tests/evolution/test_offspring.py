"""Offspring: networks bred from the better of their parents."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.crossover import transplant
from menndl_dask.evolution.offspring import Offspring, Variation
from menndl_dask.evolution.operator_rates import OperatorRates
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Activation, Convolution
from menndl_dask.space.space import SearchSpace
from tests.spaces import SPACES

NAMES = st.sampled_from(sorted(SPACES))


def parents(space: SearchSpace, number: int) -> list[Offspring]:
    rng = np.random.default_rng(0)
    individuals = [Individual(i, space.sample(rng)) for i in range(number)]
    return [Offspring(individual.genome, (individual,)) for individual in individuals]


def bred(space: SearchSpace, breeders: list[Offspring], seed: int, number: int = 8) -> list[Offspring]:
    variation = Variation(space)
    rates = OperatorRates(variation.priors).current()
    return list(variation.breed(breeders, rates, 3, number, np.random.default_rng(seed)))


@given(NAMES, st.integers(0, 1000))
def test_the_same_seed_breeds_the_same_offspring_and_they_can_be_repaired(name: str, seed: int) -> None:
    space = SPACES[name]
    first, second = (bred(space, parents(space, 6), seed) for _ in range(2))
    assert [one.genome for one in first] == [one.genome for one in second]
    assert all(space.contains(space.repair(one.genome, np.random.default_rng(0))) for one in first)


def test_offspring_know_their_parents_and_the_better_have_more() -> None:
    space = SPACES["a sequence"]
    offspring = bred(space, parents(space, 10), 0, number=300)
    assert len(offspring) == 300
    assert {len(one.parents) for one in offspring} == {1, 2}
    numbers = [parent.id for one in offspring for parent in one.parents]
    assert numbers.count(0) > 5 * max(1, numbers.count(9))


def test_repetition_makes_no_offspring_deeper_than_the_space_allows() -> None:
    space = SPACES["classes of images"]
    block = (Convolution(8), Convolution(8, activation="linear"), Activation("relu", inputs=(1, 3), join="add"))
    times = space.deepest // len(block) - 1
    parent = Individual(0, Genome((Convolution(8), Cell(body=block, times=times))))
    depths = {len(one.genome.layers) for one in bred(space, [Offspring(parent.genome, (parent,))], 0, number=300)}
    assert space.deepest - len(block) < max(depths) <= space.deepest


def test_one_parent_breeds_alone() -> None:
    space = SPACES["slots"]
    offspring = bred(space, parents(space, 1), 0)
    assert {parent.id for one in offspring for parent in one.parents} == {0}
    assert any(one.genome != one.parents[0].genome for one in offspring)


def test_offspring_of_offspring_descend_from_evaluated_individuals() -> None:
    space = SPACES["classes of images"]
    rng = np.random.default_rng(0)
    first = [Offspring(space.repair(o.genome, rng), o.parents, o.origin) for o in bred(space, parents(space, 4), 1)]
    second = bred(space, first, 2, number=30)
    assert {parent.id for one in second for parent in one.parents} <= set(range(4))
    assert all(1 <= len(one.parents) <= 2 for one in second)


def test_repeated_blocks_are_bred_as_cells_and_layer_by_layer() -> None:
    space = SPACES["classes of images"]
    block = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))
    genome = Genome((Convolution(8, (1,)), *block * 8))
    offspring = bred(space, [Offspring(genome, (Individual(0, genome),))], 0, number=200)
    depths = [len(space.repair(one.genome, np.random.default_rng(0)).layers) for one in offspring]
    assert sum(depth > 20 for depth in depths) > 100  # most have nearly all of its blocks
    assert {22, 28} <= set(depths)  # a block less, a block more
    assert len(offspring[0].genome.layers) < 100


def test_crossover_hands_cells_down_whole() -> None:
    space = SPACES["classes of images"]
    block = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))
    deep, flat = Genome((Convolution(8, (1,)), Cell(body=block, times=9))), Genome((Convolution(12), Convolution(16)))
    whole = 0
    for seed in range(60):
        child = transplant(flat, deep, space, np.random.default_rng(seed))
        whole += any(isinstance(gene, Cell) and gene.times == 9 and gene.body == block for gene in child.genes)
    assert whole > 20


def test_offspring_have_no_more_layers_than_can_be_told_apart() -> None:
    space = SPACES["classes of images"]
    genome = Genome((Convolution(4, (1,)), *[Cell(body=(Convolution(4), Convolution(5)), times=100)] * 4))
    offspring = bred(space, [Offspring(genome, (Individual(0, genome),))], 0, number=60)
    assert max(len(one.genome.layers) for one in offspring) <= 1000
