"""Bodies: editing the variable part of a genome while its connections hold."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.genome_edit import Body, carried_over, mutable, width
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, Dropout, FullyConnected
from menndl_dask.genome.training_gene import Training
from tests.spaces import SPACES, Edge, Step

SEEDS = st.integers(0, 2**32 - 1)
IMAGES = SPACES["classes of images"]


@given(SEEDS, st.sampled_from(sorted(SPACES)))
def test_a_body_that_is_closed_again_is_the_genome(seed: int, name: str) -> None:
    genome = SPACES[name].sample(np.random.default_rng(seed))
    assert Body.of(genome, SPACES[name]).genome().genes == genome.genes


def test_a_body_parts_the_fixed_genes_from_the_variable_ones() -> None:
    body = Body.of(Genome((Training(), Step(), Step())), SPACES["a sequence after a prefix"])
    assert body.front == (Training(),)
    assert body.genes == (Step(), Step())
    assert body.sources is None


def test_an_inserted_chain_is_read_by_the_layer_that_it_precedes() -> None:
    body = Body.of(Genome((Convolution(8), Activation("relu", inputs=(1, 2)))), IMAGES)
    longer = body.inserted(1, [Dropout(0.5), Dropout(0.2)])
    assert longer.sources == ((-1,), (0,), (1,), (2, -1))


def test_a_block_put_at_the_end_reads_the_last_layer() -> None:
    body = Body.of(Genome((Convolution(8), Convolution(8))), IMAGES)
    block, inner = Body.of(Genome((Convolution(4), Activation("relu", inputs=(1, 2)))), IMAGES).cut(0, 2)
    assert body.inserted(2, block, inner).sources == ((-1,), (0,), (1,), (2, 1))


def test_a_cut_marks_what_lies_outside() -> None:
    genome = Genome((Convolution(8), Convolution(8), Activation("relu", inputs=(1, 2))))
    block, inner = Body.of(genome, IMAGES).cut(1, 3)
    assert block == genome.genes[1:]
    assert inner == [(-1,), (0, -1)]


def test_a_removed_layer_is_replaced_by_what_it_read() -> None:
    genome = Genome((Convolution(8), Convolution(16), Activation("relu", inputs=(1, 2))))
    assert Body.of(genome, IMAGES).removed(1).sources == ((-1,), (0,))


def test_a_gene_is_exchanged_by_its_place_in_the_whole_genome() -> None:
    body = Body.of(Genome((Training(), Step(), Step())), SPACES["a sequence after a prefix"])
    assert body.with_gene(0, Training("sgd")).front == (Training("sgd"),)
    assert body.with_gene(2, Step(64)).genes == (Step(), Step(64))


def test_only_fields_with_a_choice_are_mutable() -> None:
    assert [name for name, _ in mutable(SPACES["slots"], Edge)] == ["operation"]
    assert "bias" not in [name for name, _ in mutable(IMAGES, Convolution)]


def test_the_width_of_a_layer_is_its_integer_spaced_in_ratio() -> None:
    found = [width(IMAGES, Convolution), width(IMAGES, FullyConnected), width(SPACES["one slot"], Step)]
    assert [entry[0] for entry in found if entry] == ["kernels", "units", "width"]
    assert width(SPACES["slots"], Edge) is None


def test_a_layer_in_the_place_of_another_reads_what_it_read() -> None:
    old = Activation("relu", inputs=(1, 3), join="add")
    assert carried_over(Convolution(8), old) == Convolution(8, inputs=(1, 3), join="add")
    assert carried_over(Edge("skip"), Edge("none")) == Edge("skip")
