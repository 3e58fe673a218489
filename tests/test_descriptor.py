"""Descriptors: similar networks are near each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.layers import Activation, Convolution
from menndl_dask.operators.mutation import mutations
from menndl_dask.space import SearchSpace
from tests.spaces import SPACES, Edge, Step

SEEDS = st.integers(0, 2**32 - 1)


def apart(describe: Descriptor, first: Genome, second: Genome) -> float:
    return float(((describe(first) - describe(second)) ** 2).sum())


@pytest.mark.parametrize("name", SPACES)
def test_every_genome_of_a_space_has_a_finite_vector_of_one_length(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    describe = Descriptor(space)
    vectors = np.stack([describe(space.sample(rng)) for _ in range(20)])
    assert np.isfinite(vectors).all()
    assert describe.columns is not None
    assert len(describe.columns) == vectors.shape[1]
    assert set(describe.columns.tolist()) == set(range(len(describe.groups)))


@given(SEEDS, st.sampled_from(sorted(SPACES)))
def test_what_was_bred_but_not_mended_can_be_described(seed: int, name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    describe, parent = Descriptor(space), space.sample(rng)
    for operator, _ in mutations(space).values():
        child = operator(parent, space, rng)
        assert np.isfinite(describe(child)).all()
        together = describe.together([child, parent], [describe(parent)] * 2)
        assert together.shape == (2, len(describe(parent)))


@given(SEEDS, st.sampled_from(sorted(SPACES)))
def test_networks_are_described_together_as_each_by_itself_to_the_last_digit(seed: int, name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    describe, genomes = Descriptor(space), [space.sample(rng) for _ in range(5)]
    if space.kinds:
        genomes.insert(2, Genome(genomes[0].genes[: len(space.fixed)]))  # nothing after the fixed genes
    together = describe.together(genomes)
    assert np.array_equal(together, np.stack([describe(genome) for genome in genomes]))
    assert np.array_equal(together[1:4], describe.together(genomes[1:4]))


def test_a_changed_slot_counts_one_and_a_small_step_less_than_a_large_one() -> None:
    space = SearchSpace.slots([Edge, Step])
    describe = Descriptor(space)
    here = Genome((Edge("skip"), Step(16, 0.5, 3)))
    assert apart(describe, here, Genome((Edge("pool"), Step(16, 0.5, 3)))) == pytest.approx(1.0)
    near, far = Genome((Edge("skip"), Step(18, 0.5, 3))), Genome((Edge("skip"), Step(64, 0.5, 3)))
    assert 0 < apart(describe, here, near) < apart(describe, here, far) <= 1.0


def test_a_mutated_network_is_nearer_than_a_random_one() -> None:
    space, rng = SPACES["classes of images"], np.random.default_rng(0)
    describe = Descriptor(space)
    parents = [space.sample(rng) for _ in range(30)]
    step = mutations(space)["step"][0]
    near = np.median([apart(describe, p, space.repair(step(p, space, rng), rng)) for p in parents])
    far = np.median([apart(describe, p, space.sample(rng)) for p in parents])
    assert near < far / 3


def test_connections_make_a_difference() -> None:
    describe = Descriptor(SPACES["classes of images"])
    chain = Genome((Convolution(8), Convolution(8), Activation("relu")))
    residual = Genome((Convolution(8), Convolution(8), Activation("relu", inputs=(1, 2), join="add")))
    assert apart(describe, chain, residual) > 0.1


def test_many_fixed_genes_are_put_together() -> None:
    space = SearchSpace.slots([Edge] * 40)
    describe, genome = Descriptor(space), space.sample(np.random.default_rng(0))
    assert len(describe.groups) <= 25
    assert np.isfinite(describe(genome)).all()
