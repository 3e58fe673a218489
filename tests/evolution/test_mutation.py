"""Mutations: what each changes, and what all of them keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from menndl_dask.evolution import mutation
from menndl_dask.evolution.mutation import mutations
from menndl_dask.genome.forms.cell import Cell
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


BLOCK = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))
DEEP = Genome((Convolution(8, (1,)), Cell(body=BLOCK, times=3), Convolution(16)))
IMAGES = SPACES["classes of images"]


def repeated(genome: Genome) -> set[tuple[int, ...]]:
    """Return the numbers of layers and repetitions of the cells of genomes that are mutated so."""
    found = set()
    for seed in range(150):
        child = mutation.repeat(genome, IMAGES, np.random.default_rng(seed))
        cells = [gene for gene in child.genes if isinstance(gene, Cell)]
        found.add((len(child.layers), *(cell.times for cell in cells)))
    return found


def test_a_cell_is_repeated_once_more_or_once_less() -> None:
    assert {(14, 4), (8, 2)} <= repeated(DEEP)


def test_a_block_is_repeated_once_more() -> None:
    block = Genome((Convolution(8, (1,)), Cell(body=BLOCK, times=1), Convolution(16)))
    assert (8, 2) in repeated(block)
    assert not any(size < 5 for size, *_ in repeated(block))


def test_a_cell_that_is_repeated_once_is_none() -> None:
    twice = Genome((Convolution(8, (1,)), Cell(body=BLOCK, times=2), Convolution(16)))
    assert (5,) in repeated(twice)
    joining = Cell(body=BLOCK, times=2, inputs=(1, 2), join="add")
    read_twice = Genome((Convolution(8, (1,)), Convolution(8), joining, Convolution(16, inputs=(1, 2))))
    once = Genome((Convolution(8, (1,)), Convolution(8), Activation("linear", inputs=(1, 2), join="add"), *BLOCK,
                   Convolution(16, inputs=(1, 5))))  # fmt: skip
    children = [mutation.repeat(read_twice, IMAGES, np.random.default_rng(seed)) for seed in range(60)]
    assert once in children


def test_a_residual_block_is_repeated_whole_or_within() -> None:
    flat = Genome((Convolution(8, (1,)), *BLOCK, Convolution(16)))
    for seed in range(100):
        child = mutation.repeat(flat, IMAGES, np.random.default_rng(seed))
        for cell in (gene for gene in child.genes if isinstance(gene, Cell)):
            assert cell.times == 2
            assert len(child.layers) == len(flat) + len(cell.body)
            # its layers are neighbours, and the first of the two repetitions is what was there
            assert any(flat.layers[i : i + len(cell.body)] == child.layers[i : i + len(cell.body)] for i in range(5))
    # the second layer of the block and its sum cannot be repeated without the first, which they read beside the entry
    children = [mutation.repeat(flat, IMAGES, np.random.default_rng(seed)) for seed in range(100)]
    bodies = {gene.body for child in children for gene in child.genes if isinstance(gene, Cell)}
    assert BLOCK in bodies
    assert BLOCK[1:] not in bodies


def test_a_mutation_in_a_cell_changes_all_repetitions_alike() -> None:
    for seed in range(40):
        child = mutation.in_a_cell(mutation.step, DEEP, IMAGES, np.random.default_rng(seed))
        (cell,) = (gene for gene in child.genes if isinstance(gene, Cell))
        assert sum(a != b for a, b in zip(cell.body, BLOCK, strict=True)) == 1
        assert child.layers[1:4] == child.layers[4:7] == child.layers[7:10]
        assert (child.genes[0], child.genes[2]) == (DEEP.genes[0], DEEP.genes[2])


def test_a_cell_is_widened_as_a_whole() -> None:
    found = set()
    for seed in range(20):
        child = mutation.in_a_cell(mutation.scale_width, DEEP, IMAGES, np.random.default_rng(seed))
        first, *inner, last = (layer.kernels for layer in child.layers if isinstance(layer, Convolution))
        assert (first, last) == (8, 16)
        found.add(tuple(sorted(set(inner))))
    assert any(len(widths) == 1 and widths != (8,) for widths in found)


@given(SEEDS, st.sampled_from([name for name in mutations(IMAGES) if name != mutation.REPEAT]))
def test_every_mutation_works_on_cells_and_in_them(seed: int, name: str) -> None:
    rng, operator = np.random.default_rng(seed), mutations(IMAGES)[name][0]
    for child in (operator(DEEP, IMAGES, rng), mutation.in_a_cell(operator, DEEP, IMAGES, rng)):
        assert IMAGES.violation(IMAGES.repair(child, rng)) is None
