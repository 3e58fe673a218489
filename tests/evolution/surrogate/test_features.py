"""Features: similar networks are near each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.mutation import mutations
from menndl_dask.evolution.surrogate.features import Features
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution
from menndl_dask.space.space import SearchSpace
from tests.spaces import SPACES, Edge, Step

SEEDS = st.integers(0, 2**32 - 1)


def apart(features: Features, first: Genome, second: Genome) -> float:
    return float(np.square(np.subtract(*features.of([first, second]))).sum())


@pytest.mark.parametrize("name", SPACES)
def test_every_genome_of_a_space_has_a_finite_vector_of_one_length(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    features = Features(space)
    vectors = features.of([space.sample(rng) for _ in range(20)])
    assert np.isfinite(vectors).all()
    assert vectors.shape == (20, len(features.group_of_column))
    assert set(features.group_of_column.tolist()) == set(range(len(features.groups)))


@given(SEEDS, st.sampled_from(sorted(SPACES)))
def test_offspring_that_are_not_repaired_have_features_with_their_own_costs_or_those_of_a_parent(
    seed: int, name: str
) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    features, parent = Features(space), space.sample(rng)
    of_parent = features.of([parent])
    for operator, _ in mutations(space).values():
        child = operator(parent, space, rng)
        assert np.isfinite(features.of([child])).all()
        assert features.of([child], of_parent).shape == of_parent.shape
    assert np.array_equal(features.of([parent], of_parent), of_parent)


@given(SEEDS, st.sampled_from(sorted(SPACES)))
def test_the_features_of_a_network_do_not_depend_on_those_beside_it(seed: int, name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    features, genomes = Features(space), [space.sample(rng) for _ in range(5)]
    if space.kinds:
        genomes.insert(2, Genome(genomes[0].genes[: len(space.fixed)]))  # nothing after the fixed genes
    together = features.of(genomes)
    assert np.array_equal(together, np.concatenate([features.of([genome]) for genome in genomes]))
    assert np.array_equal(together, features.cached(genomes))
    assert np.array_equal(together[1:4], features.cached(genomes[1:4]))


def test_a_changed_slot_counts_one_and_a_small_step_less_than_a_large_one() -> None:
    space = SearchSpace.slots([Edge, Step])
    features = Features(space)
    here = Genome((Edge("skip"), Step(16, 0.5, 3)))
    assert apart(features, here, Genome((Edge("pool"), Step(16, 0.5, 3)))) == pytest.approx(1.0)
    near, far = Genome((Edge("skip"), Step(18, 0.5, 3))), Genome((Edge("skip"), Step(64, 0.5, 3)))
    assert 0 < apart(features, here, near) < apart(features, here, far) <= 1.0


def test_a_mutated_network_is_nearer_than_a_random_one() -> None:
    space, rng = SPACES["classes of images"], np.random.default_rng(0)
    features = Features(space)
    parents = [space.sample(rng) for _ in range(30)]
    step = mutations(space)["step"][0]
    near = np.median([apart(features, p, space.repair(step(p, space, rng), rng)) for p in parents])
    far = np.median([apart(features, p, space.sample(rng)) for p in parents])
    assert near < far / 3


def test_connections_make_a_difference() -> None:
    features = Features(SPACES["classes of images"])
    chain = Genome((Convolution(8), Convolution(8), Activation("relu")))
    residual = Genome((Convolution(8), Convolution(8), Activation("relu", inputs=(1, 2), join="add")))
    assert apart(features, chain, residual) > 0.1


def test_many_fixed_genes_are_put_together() -> None:
    space = SearchSpace.slots([Edge] * 40)
    features, genome = Features(space), space.sample(np.random.default_rng(0))
    assert len(features.groups) <= 25
    assert np.isfinite(features.of([genome])).all()


def test_a_network_has_the_same_features_with_cells_and_without() -> None:
    features = Features(SPACES["classes of images"])
    block = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))
    cells, flat = Genome((Convolution(8), Cell(body=block, times=4))), Genome((Convolution(8), *block * 4))
    assert apart(features, cells, flat) == 0.0
