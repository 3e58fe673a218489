"""Mutations: what each changes, and what all of them keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from menndl_dask.evolution import mutation
from menndl_dask.evolution.mutation import mutations
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, FullyConnected
from tests.spaces import SPACES, Edge, Step

SEEDS = st.integers(0, 2**32 - 1)
CASES = [(space, name) for space in SPACES for name in mutations(SPACES[space])]


@given(SEEDS, st.sampled_from(CASES))
def test_a_mutated_child_is_in_the_space_after_repair(seed: int, case: tuple[str, str]) -> None:
    space, rng = SPACES[case[0]], np.random.default_rng(seed)
    child = mutations(space)[case[1]][0](space.sample(rng), space, rng)
    assert space.violation(space.repair(child, rng)) is None


@given(SEEDS, st.sampled_from(CASES))
def test_a_mutation_leaves_its_parent_as_it_was(seed: int, case: tuple[str, str]) -> None:
    space, rng = SPACES[case[0]], np.random.default_rng(seed)
    parent = space.sample(rng)
    genes, key = tuple(parent.genes), parent.key
    mutations(space)[case[1]][0](parent, space, rng)
    assert parent.genes == genes
    assert Genome(genes).key == key


@given(SEEDS, st.sampled_from(CASES))
def test_the_same_generator_mutates_to_the_same_child(seed: int, case: tuple[str, str]) -> None:
    space = SPACES[case[0]]
    parent = space.sample(np.random.default_rng(seed))
    operator = mutations(space)[case[1]][0]
    children = [operator(parent, space, np.random.default_rng(seed)) for _ in range(2)]
    assert children[0].genes == children[1].genes


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]} in {case[0]}")
def test_each_mutation_makes_something_new_in_some_of_its_uses(case: tuple[str, str]) -> None:
    space, rng = SPACES[case[0]], np.random.default_rng(1)
    operator = mutations(space)[case[1]][0]
    parents = [space.sample(rng) for _ in range(30)]
    assert any(operator(parent, space, rng).key != parent.key for parent in parents)


@given(SEEDS)
@example(2385)  # once stepped to the value it had
def test_a_step_changes_one_field_of_one_gene(seed: int) -> None:
    space, rng = SPACES["slots of several kinds"], np.random.default_rng(seed)
    parent = space.sample(rng)
    child = mutation.step(parent, space, rng)
    changed = [(a, b) for a, b in zip(parent.genes, child.genes, strict=True) if a != b]
    assert len(changed) == 1
    before, after = (gene.to_dict() for gene in changed[0])
    assert sum(before[name] != after[name] for name in before) == 1


@given(SEEDS)
def test_insert_and_remove_change_the_length_by_one_within_its_bounds(seed: int) -> None:
    space, rng = SPACES["a sequence"], np.random.default_rng(seed)
    parent = space.sample(rng)
    assert len(mutation.insert(parent, space, rng)) == min(len(parent) + 1, space.maximum)
    assert len(mutation.remove(parent, space, rng)) == max(len(parent) - 1, space.minimum)
    assert len(mutation.duplicate(parent, space, rng)) == min(len(parent) + 1, space.maximum)


def test_what_read_a_removed_layer_reads_what_it_read() -> None:
    space = SPACES["classes of images"]
    genome = Genome((Convolution(8), Convolution(16), FullyConnected(32)))
    shorter = {mutation.remove(genome, space, np.random.default_rng(seed)).genes for seed in range(20)}
    assert shorter == {
        (Convolution(16), FullyConnected(32)),
        (Convolution(8), FullyConnected(32)),
        (Convolution(8), Convolution(16)),
    }


def test_a_bypass_adds_what_a_block_reads_to_what_it_gives() -> None:
    space = SPACES["classes of images"]
    genome = Genome((Convolution(8), Convolution(8), Activation("relu")))
    children = [mutation.bypass(genome, space, np.random.default_rng(seed)) for seed in range(20)]
    assert any(child.sources[2] == (1, 0) and child.layers[2].join == "add" for child in children)


def test_a_copied_block_keeps_the_connections_in_it() -> None:
    space = SPACES["classes of images"]
    block = (Convolution(8), Convolution(8, inputs=(1,)), Activation("relu", inputs=(1, 2), join="add"))
    children = [mutation.copy_block(Genome(block), space, np.random.default_rng(seed)) for seed in range(200)]
    assert any(sum(len(node) == 2 for node in child.sources) == 2 and len(child) == 6 for child in children)


def test_scaling_the_width_moves_all_layers_in_one_direction() -> None:
    space = SPACES["classes of images"]
    genome = Genome((Convolution(32), Convolution(64), FullyConnected(128)))
    for seed in range(20):
        child = mutation.scale_width(genome, space, np.random.default_rng(seed))
        pairs = zip(genome.genes, child.genes, strict=True)
        widths = [(getattr(a, "kernels", 0) or a.units, getattr(b, "kernels", 0) or b.units) for a, b in pairs]  # type: ignore[attr-defined]
        moved = {np.sign(b - a) for a, b in widths if a != b}
        assert len(moved) == 1


def test_a_mutation_that_does_not_apply_returns_the_genome_itself() -> None:
    space, rng = SPACES["a sequence"], np.random.default_rng(0)
    full, least = Genome((Edge(),) * space.maximum), Genome((Step(),))
    for operator in (mutation.insert, mutation.duplicate, mutation.copy_block):
        assert operator(full, space, rng) is full
    for operator in (mutation.remove, mutation.connect, mutation.disconnect, mutation.bypass, mutation.swap):
        assert operator(least, space, rng) is least


def test_a_space_without_a_variable_part_has_no_mutations_of_shape() -> None:
    assert not {"insert", "remove", "connect", "scale_depth"} & set(mutations(SPACES["slots"]))
    assert {"insert", "remove", "connect", "bypass"} <= set(mutations(SPACES["classes of images"]))
    assert "connect" not in mutations(SPACES["a sequence"])
