"""Search spaces: what they draw, contain and repair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import choice, integer
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Convolution, FullyConnected
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Problem
from menndl_dask.space.space import SearchSpace
from tests.problems import PROBLEMS, problem

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Edge(Gene):
    operation: str = choice("none", "skip", "conv1", "conv3", "pool")


@dataclass(frozen=True, slots=True)
class Step(Gene):
    width: int = integer(1, 50)


@pytest.fixture(params=PROBLEMS, ids=str)
def any_problem(request: pytest.FixtureRequest) -> Problem:
    return PROBLEMS[request.param]


def test_a_space_of_slots_draws_one_gene_of_each_kind() -> None:
    space = SearchSpace.slots([Edge] * 6)
    genome = space.sample(np.random.default_rng(0))
    assert [type(g) for g in genome.genes] == [Edge] * 6
    assert not space.kinds  # all genomes are equally long
    assert space.size == 5**6


@given(SEEDS)
def test_a_sequence_draws_lengths_within_its_bounds_after_its_prefix(seed: int) -> None:
    space = SearchSpace.sequence([Edge, Step], minimum=2, maximum=5, prefix=[Training])
    genome = space.sample(np.random.default_rng(seed))
    assert isinstance(genome.genes[0], Training)
    assert 2 <= len(genome) - 1 <= 5
    assert space.contains(genome)


def test_what_does_not_belong_to_a_space_is_said() -> None:
    space = SearchSpace.sequence([Step], minimum=1, maximum=2)
    assert "Step.width: 99 is not in" in str(space.violation(Genome((Step(99),))))
    assert "expected 0 + 1 to 2 genes, got 3" in str(space.violation(Genome((Step(),) * 3)))
    assert "Edge is not in this space" in str(space.violation(Genome((Edge(),))))


def test_a_users_constraint_is_kept_by_sampling_and_repair() -> None:
    def even(genome: Genome) -> str | None:
        return None if sum(g.width for g in genome.genes) % 2 == 0 else "an odd sum"  # type: ignore[attr-defined]

    space = SearchSpace.sequence([Step], minimum=1, maximum=3, constraints=[even])
    rng = np.random.default_rng(0)
    assert all(even(space.sample(rng)) is None for _ in range(50))
    assert even(space.repair(Genome((Step(3),)), rng)) is None


def test_constraints_that_leave_nothing_are_an_error_in_words() -> None:
    space = SearchSpace.slots([Edge], constraints=[lambda genome: "too ugly"])
    with pytest.raises(UserError, match="no valid network in 200 draws; the last one: too ugly"):
        space.sample(np.random.default_rng(0))


@pytest.mark.parametrize("arguments", [{"minimum": 3, "maximum": 2}, {"minimum": -1, "maximum": 2}])
def test_bounds_that_contradict_each_other_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected 0 ≤ minimum ≤ maximum"):
        SearchSpace.sequence([Edge], **arguments)


def test_the_same_generator_draws_the_same_networks(any_problem: Problem) -> None:
    space = SearchSpace.image(any_problem)
    first = [space.sample(np.random.default_rng(s)).key for s in range(5)]
    assert first == [space.sample(np.random.default_rng(s)).key for s in range(5)]
    assert len(set(first)) == 5


def test_drawn_networks_belong_to_the_space_and_are_canonical(any_problem: Problem) -> None:
    space = SearchSpace.image(any_problem, training=True)
    for seed in range(30):
        genome = space.sample(np.random.default_rng(seed))
        assert space.violation(genome) is None
        assert genome.genes == genome.canonical().genes


@given(SEEDS, st.sampled_from(sorted(PROBLEMS)))
def test_repair_brings_any_mixture_of_layers_into_the_space(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    space = SearchSpace.image(PROBLEMS[name], maximum=10)
    layers = []
    for i in range(int(rng.integers(0, 14))):
        gene = space.sample_gene(space.kinds[rng.integers(len(space.kinds))], rng)
        assert isinstance(gene, Layer)
        offsets = tuple(int(o) for o in rng.integers(1, i + 4, size=rng.integers(1, 4)))
        layers.append(gene.replaced(inputs=offsets, join=("add", "concatenate")[rng.integers(2)]))
    repaired = space.repair(Genome(tuple(layers)), rng)
    assert space.violation(repaired) is None


def test_repair_leaves_a_valid_network_as_it_is(any_problem: Problem) -> None:
    space = SearchSpace.image(any_problem)
    rng = np.random.default_rng(1)
    genome = space.sample(rng)
    assert space.repair(genome, rng) == genome


def test_networks_over_a_limit_are_narrowed_not_refused() -> None:
    limited = SearchSpace.image(problem(), max_parameters=20_000, max_flops=2e6)
    big = Genome((Convolution(256), Convolution(256), FullyConnected(1024)))
    assert "expected at most 2e+04 parameters" in str(limited.violation(big))
    repaired = limited.repair(big, np.random.default_rng(0))
    assert cost_of(repaired, problem()).parameters <= 20_000
    assert any(isinstance(layer, Convolution) for layer in repaired.layers)


def test_random_networks_are_diverse_in_kind_and_cost(any_problem: Problem) -> None:
    space = SearchSpace.image(any_problem)
    genomes = [space.sample(np.random.default_rng(seed)) for seed in range(40)]
    costs = [cost_of(genome, any_problem).parameters for genome in genomes]
    assert max(costs) > 5 * min(costs)
    assert len({len(genome) for genome in genomes}) >= 5
    assert any(max(len(node) for node in genome.sources) > 1 for genome in genomes)  # some have joins
