"""Folding: what is repeated becomes a cell, and the network stays the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    Normalisation,
    Pooling,
    Upsampling,
)
from menndl_dask.genome.topology import Sources
from menndl_dask.genome.training_gene import Training
from menndl_dask.space.network_builder import NetworkBuilder
from tests.examples import examples
from tests.genomes import graphs, renumbered, shuffled

SEEDS = st.integers(0, 2**32 - 1)
JOIN, SUM = Activation("linear"), Activation("linear", join="add")
POINT = Convolution(64, (1,), activation="linear", normalisation="batch")


@st.composite
def repetitive(draw: st.DrawFn) -> Genome:
    """Draw a graph some of whose layers are graphs that are repeated, written layer by layer."""
    genome = draw(graphs(largest=7))
    genes: list[Layer] = []
    for layer in genome.layers:
        body = draw(st.none() | graphs(largest=4, views=1))
        if body is None:
            genes.append(layer)
        else:
            cell = Cell(body=body.layers, times=draw(st.integers(2, 5)), inputs=layer.inputs, join=layer.join)
            genes.append(cell)
    return Genome(Genome(tuple(genes)).layers)


def cells(genome: Genome) -> list[Cell]:
    return [gene for gene in genome.genes if isinstance(gene, Cell)]


def residual(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> Genome:
    """Return a network of stages of residual blocks with bottlenecks, the first of a stage with a projection."""
    net = NetworkBuilder()
    net.add(Convolution(64, (7,), (2,), normalisation="batch"))
    tip = net.add(Pooling((3,), (2,)))
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = (2,) if stage and not block else (1,)
            wide = replace(POINT, kernels=4 * width)
            around = tip if block else net.add(replace(wide, stride=stride), tip)
            net.add(Convolution(width, (1,), stride, normalisation="batch"), tip)
            net.add(Convolution(width, normalisation="batch"))
            tip = net.add(Activation("relu", join="add"), around, net.add(wide))
    return net.genome()


def dense(blocks: tuple[int, ...] = (6, 12, 24, 16)) -> Genome:
    """Return a network of blocks in which each layer reads all before it."""
    net = NetworkBuilder()
    tip = net.add(Convolution(64, (7,), (2,)))
    for count in blocks:
        for _ in range(count):
            net.add(Normalisation("batch"), tip)
            net.add(Activation("relu"))
            net.add(Convolution(128, (1,), normalisation="batch"))
            tip = net.add(JOIN, tip, net.add(Convolution(32, activation="linear")))
        net.add(Convolution(128, (1,)))
        tip = net.add(Pooling((2,), (2,), "average"))
    return net.genome()


def inverted() -> Genome:
    """Return a network of inverted residual blocks with linear bottlenecks."""
    net = NetworkBuilder()
    tip = net.add(Convolution(32, stride=(2,)))
    for width, count in ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3)):
        for block in range(count):
            net.add(Convolution(6 * width, (1,)), tip)
            net.add(DepthwiseConvolution((3,), (1,) if block else (2,)))
            last = net.add(Convolution(width, (1,), activation="linear"))
            tip = net.add(SUM, tip, last) if block else last
    return net.genome()


def modernised() -> Genome:
    """Return a network of large depthwise convolutions and two of single pixels, each added to its input."""
    net = NetworkBuilder()
    tip = net.add(Convolution(96, (4,), (4,), activation="linear", normalisation="layer"))
    for stage, count in enumerate((3, 3, 9, 3)):
        if stage:
            net.add(Normalisation("layer"))
            tip = net.add(Convolution(96 * 2**stage, (2,), (2,), activation="linear"))
        for _ in range(count):
            net.add(DepthwiseConvolution((7,), normalisation="layer", activation="linear"), tip)
            net.add(Convolution(384 * 2**stage, (1,), activation="gelu"))
            tip = net.add(SUM, tip, net.add(Convolution(96 * 2**stage, (1,), activation="linear")))
    return net.genome()


def branched() -> Genome:
    """Return a network of parallel convolutions, whose outputs are joined only by those that read them."""
    net = NetworkBuilder()
    tips: Sources = (net.add(Convolution(32, stride=(2,))),)
    for _ in range(4):
        one = net.add(Convolution(64, (1,)), *tips)
        net.add(Convolution(48, (1,)), *tips)
        five = net.add(Convolution(64, (5,)))
        net.add(Convolution(64, (1,)), *tips)
        net.add(Convolution(96))
        three = net.add(Convolution(96))
        net.add(Pooling((3,), (1,), "average"), *tips)
        tips = one, five, three, net.add(Convolution(64, (1,)))
    net.add(JOIN, *tips)
    return net.genome()


def attentive() -> Genome:
    """Return a network whose blocks have two residual connections each."""
    net = NetworkBuilder()
    tip = net.add(Convolution(64, (8,), (8,), activation="linear"))
    for _ in range(12):
        net.add(Normalisation("layer"), tip)
        tip = net.add(SUM, tip, net.add(Convolution(64, (1,), activation="linear")))
        net.add(Normalisation("layer"), tip)
        net.add(Convolution(256, (1,), activation="gelu"))
        tip = net.add(SUM, tip, net.add(Convolution(64, (1,), activation="linear")))
    net.add(Normalisation("layer"))
    return net.genome()


@pytest.mark.parametrize(
    ("genome", "most", "times"),
    [
        (residual(), 10, [2, 3, 5, 2]),
        (residual((2,) * 6), 14, []),
        (dense(), 13, [6, 12, 24, 16]),
        (inverted(), 12, [2, 3, 2, 2]),
        (modernised(), 11, [3, 3, 9, 3]),
        (branched(), 2, [4]),
        (attentive(), 3, [12]),
        (Genome((Convolution(8),) * 9), 1, [9]),
    ],
)
def test_repeated_blocks_become_cells(genome: Genome, most: int, times: list[int]) -> None:
    folded = genome.folded()
    assert [cell.times for cell in cells(folded) if cell.times > 1] == times
    assert len(folded) <= most
    assert Genome(folded.genes).key == genome.key


@examples(150)
@given(repetitive())
def test_a_folded_genome_is_the_same_network(genome: Genome) -> None:
    folded = genome.folded()
    again = Genome(folded.genes)
    assert again.key == genome.key
    assert again.folded().genes == folded.genes
    runs = [gene for gene in cells(folded) if gene.times > 1]
    blocks = [gene for gene in cells(folded) if gene.times == 1]
    count = sum(1 + len(run.body) for run in runs) + sum(len(block.body) for block in blocks)
    count += len(folded) - len(runs) - len(blocks)
    assert count <= len(genome.canonical()) - 2 * bool(runs)
    assert not blocks or len(genome.canonical()) > 50
    assert all(len(block.body) >= 2 for block in blocks)


@st.composite
def deep(draw: st.DrawFn) -> Genome:
    """Draw a network of blocks of a few kinds in any order, each with settings of its own."""
    bodies = [Genome(graph.layers) for graph in draw(st.lists(graphs(largest=8, views=1), min_size=1, max_size=3))]
    rng = np.random.default_rng(draw(SEEDS))
    genes: list[Layer] = []
    while sum(len(cell.body) for cell in genes if isinstance(cell, Cell)) < 80:
        body = bodies[rng.integers(len(bodies))].layers
        widths = [replace(g, kernels=int(rng.integers(4, 8))) if isinstance(g, Convolution) else g for g in body]
        genes.append(Cell(body=tuple(widths), times=int(rng.integers(1, 3))))
    return Genome(Genome(tuple(genes)).layers)


@examples(60)
@given(deep(), SEEDS)
def test_a_deep_network_is_folded_in_one_way(genome: Genome, seed: int) -> None:
    folded = genome.folded()
    assert Genome(folded.genes).key == genome.key
    assert Genome(folded.genes).folded().genes == folded.genes
    rng = np.random.default_rng(seed)
    other = shuffled(renumbered(genome.canonical(), rng), rng, only_free=True)
    assert other.folded().genes == folded.genes


def test_a_block_is_a_gene_where_alike_ones_are_elsewhere_in_a_deep_network() -> None:
    folded = residual().folded()
    stem, pooling, *stages = folded.genes
    assert [type(gene) for gene in (stem, pooling)] == [Convolution, Pooling]
    blocks = cells(Genome(tuple(stages)))
    assert [cell.times for cell in blocks] == [1, 2, 1, 3, 1, 5, 1, 2] and len(blocks) == len(stages)
    assert [len(cell.body) for cell in blocks] == [5, 4] * 4  # the first of a stage has a projection
    assert len(residual((1, 1, 1)).folded()) == 17  # not deep: layer by layer
    # a U is no block, however deep it is
    net = NetworkBuilder()
    tips = []
    for width in range(8, 17):
        net.add(Convolution(width, (5,)))
        tips.append(net.add(Convolution(width)))
        net.add(Pooling())
    for tip in reversed(tips):
        net.add(Convolution(8, (1,)), net.add(Upsampling()), tip)
        net.add(Convolution(9, (1,)))
    assert max(len(cell.body) for cell in cells(net.genome().folded())) == 3


@examples(60)
@given(repetitive(), SEEDS)
def test_how_a_network_is_written_makes_no_difference_to_its_cells(genome: Genome, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = shuffled(renumbered(genome.canonical(), rng), rng, only_free=True)
    assert other.folded().genes == genome.folded().genes


def test_a_folded_genome_goes_through_json_and_is_kept() -> None:
    genome = Genome((Training("sgd"), *residual((3,)).genes))
    folded = genome.folded()
    assert folded is genome.folded() is folded.folded() is genome.canonical().folded()
    assert folded.canonical() is genome.canonical()
    assert Genome.from_dict(json.loads(json.dumps(folded.to_dict()))).genes == folded.genes
    assert isinstance(folded.genes[0], Training)


def test_what_saves_too_little_stays_as_it_is() -> None:
    for genes in [(Convolution(8),) * 3, (Convolution(8), Convolution(4)) * 2, ()]:
        assert not cells(Genome(genes).folded())
    assert cells(Genome((Convolution(8),) * 4).folded())
    # two residual blocks; the last layer joins what it reads, so the second block needs no layer for that
    block = (Convolution(2), Convolution(2), Activation("linear", join="add", inputs=(1, 3)))
    genome = Genome((*block, *block, Convolution(2)))
    assert len(genome.canonical()) == 6
    assert not cells(genome.folded())


def test_a_repetition_that_is_read_from_elsewhere_is_no_part_of_a_cell() -> None:
    # the stages of a U are alike, but each is read again on the way up
    net = NetworkBuilder()
    tips = []
    for _ in range(4):
        net.add(Convolution(16, (5,)))
        tips.append(net.add(Convolution(16)))
        net.add(Pooling())
    for tip in reversed(tips):
        net.add(Convolution(16, (1,)), net.add(Upsampling()), tip)
    genome = net.genome()
    assert not cells(genome.folded())
    assert genome.folded() is genome.canonical()


def test_two_views_are_no_single_input() -> None:
    block = (Convolution(8), Convolution(8, (5,)), FullyConnected(7))
    genes = tuple(block[i % 3].replaced(inputs=(1,) if i else (1, 2)) for i in range(9))
    (cell,) = cells(Genome(genes).folded())
    assert (cell.inputs, cell.times) == ((1, 2), 3)


def test_a_long_repetition_is_several_cells() -> None:
    folded = Genome((Convolution(8),) * 250).folded()
    assert sorted(cell.times for cell in cells(folded)) == [50, 100, 100]
