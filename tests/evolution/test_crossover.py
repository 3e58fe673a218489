"""Crossovers: what each hands down, and what all of them keep."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution import crossover
from menndl_dask.evolution.crossover import aligned, crossovers
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, FullyConnected, Pooling
from tests.spaces import SPACES

SEEDS = st.integers(0, 2**32 - 1)
CASES = [(space, name) for space in SPACES for name in crossovers(SPACES[space])]


@given(SEEDS, st.sampled_from(CASES))
def test_a_crossed_child_is_in_the_space_after_repair(seed: int, case: tuple[str, str]) -> None:
    space, rng = SPACES[case[0]], np.random.default_rng(seed)
    child = crossovers(space)[case[1]][0](space.sample(rng), space.sample(rng), space, rng)
    assert space.violation(space.repair(child, rng)) is None


@given(SEEDS, st.sampled_from(CASES))
def test_a_crossover_leaves_both_parents_as_they_were(seed: int, case: tuple[str, str]) -> None:
    space, rng = SPACES[case[0]], np.random.default_rng(seed)
    parents = [space.sample(rng), space.sample(rng)]
    genes = [tuple(p.genes) for p in parents]
    crossovers(space)[case[1]][0](parents[0], parents[1], space, rng)
    assert [p.genes for p in parents] == genes


@given(SEEDS, st.sampled_from(CASES))
def test_the_same_generator_crosses_to_the_same_child(seed: int, case: tuple[str, str]) -> None:
    space = SPACES[case[0]]
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    operator = crossovers(space)[case[1]][0]
    children = [operator(first, second, space, np.random.default_rng(seed)) for _ in range(2)]
    assert children[0].genes == children[1].genes


@given(SEEDS)
def test_uniform_takes_every_gene_from_one_of_the_parents_in_its_place(seed: int) -> None:
    space, rng = SPACES["slots of several kinds"], np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    child = crossover.uniform(first, second, space, rng)
    assert all(g in pair for g, pair in zip(child.genes, zip(first.genes, second.genes, strict=True), strict=True))


@given(SEEDS)
def test_blend_takes_every_field_from_one_of_the_parents(seed: int) -> None:
    space, rng = SPACES["slots of several kinds"], np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    child = crossover.blend(first, second, space, rng)
    for gene, one, other in zip(child.genes, first.genes, second.genes, strict=True):
        values = zip(gene.to_dict().values(), one.to_dict().values(), other.to_dict().values(), strict=True)
        assert all(value in (a, b) for value, a, b in values)


@given(SEEDS, st.sampled_from(["splice", "transplant"]))
def test_a_child_of_parents_of_different_lengths_is_no_longer_than_may_be(seed: int, name: str) -> None:
    space, rng = SPACES["a sequence"], np.random.default_rng(seed)
    child = crossovers(space)[name][0](space.sample(rng), space.sample(rng), space, rng)
    assert space.minimum <= len(child) <= space.maximum


def test_a_splice_joins_the_front_of_one_parent_to_the_end_of_the_other() -> None:
    space = SPACES["classes of images"]
    first, second = Genome((Convolution(8),) * 4), Genome((FullyConnected(16),) * 6)
    for seed in range(20):
        child = crossover.splice(first, second, space, np.random.default_rng(seed))
        kinds = [type(g) for g in child.genes]
        head = kinds.count(Convolution)
        assert kinds == [Convolution] * head + [FullyConnected] * (len(kinds) - head)
        assert 1 <= head < len(kinds)


def test_a_splice_prefers_cuts_that_no_connection_crosses() -> None:
    space = SPACES["classes of images"]
    block = (Convolution(8), Convolution(8), Activation("relu", inputs=(1, 2), join="add"))
    parent = Genome((*block, Pooling(), *block))
    whole = 0
    for seed in range(60):
        child = crossover.splice(parent, parent, space, np.random.default_rng(seed))
        joins = [node for node in child.sources if len(node) > 1]
        whole += all(node[0] - node[1] == 1 for node in joins)
    assert whole > 50


def test_a_transplanted_block_keeps_its_connections() -> None:
    space = SPACES["classes of images"]
    donor = Genome((Convolution(8), Convolution(8), Activation("relu", inputs=(1, 2), join="add")))
    host = Genome((Pooling(), Pooling(), Pooling(), Pooling()))
    children = [crossover.transplant(host, donor, space, np.random.default_rng(seed)) for seed in range(60)]
    joined = [c for c in children if any(len(node) == 2 for node in c.sources)]
    assert joined
    for child in joined:
        place = next(i for i, node in enumerate(child.sources) if len(node) == 2)
        assert isinstance(child.layers[place], Activation)
        assert child.layers[place].join == "add"


@given(SEEDS, st.integers(0, 9), st.integers(0, 9))
def test_aligned_places_exist_and_rise_together(seed: int, first: int, second: int) -> None:
    pairs = aligned(first, second, np.random.default_rng(seed))
    assert all(0 <= i < first and 0 <= j < second for i, j in pairs)
    ordered = sorted(pairs)
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(ordered))
    assert bool(pairs) == (first > 0 and second > 0)


def test_a_single_gene_is_crossed_only_by_its_fields() -> None:
    assert set(crossovers(SPACES["one slot"])) == {"blend"}
