"""The drawing of a network: every layer once, every connection, no line through a box that it does not touch."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, FullyConnected, GlobalPooling, Pooling, Upsampling
from menndl_dask.genome.training_gene import Training
from menndl_dask.report.network_drawing import boxes, detail_of, draw_network, summary
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests.examples import examples
from tests.genomes import graphs
from tests.kinds import GroupNormalisation
from tests.problems import PROBLEMS, problem


def _rectangles(svg: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(r'class="body" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    return [(float(x), float(y), float(x) + float(w), float(y) + float(h)) for x, y, w, h in found]


@examples(60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PROBLEMS)))
def test_boxes_never_overlap_and_stand_below_what_they_read(seed: int, name: str) -> None:
    genome = SearchSpace.image(PROBLEMS[name]).sample(np.random.default_rng(seed))
    nodes = boxes(genome, PROBLEMS[name])
    svg = draw_network(genome, PROBLEMS[name])
    placed = _rectangles(svg)
    assert len(placed) == len(nodes)
    for i, (left, top, right, bottom) in enumerate(placed):
        assert all(placed[s][3] < top for s in nodes[i].sources)
        for other in placed[:i]:
            assert right < other[0] or left > other[2] or bottom < other[1] or top > other[3]
    edges = [e for e in ET.fromstring(svg) if (e.get("class") or "").startswith("edge")]
    assert len(edges) == sum(len(node.sources) for node in nodes)


@examples(60)
@given(graphs())
def test_any_genome_can_be_drawn_even_one_that_cannot_be_built(genome: Genome) -> None:
    ET.fromstring(draw_network(genome))
    ET.fromstring(draw_network(genome, PROBLEMS["two views"]))


def test_a_skip_connection_runs_beside_the_boxes_that_it_passes() -> None:
    for of in (problem("segmentation", ((64, 64, 1),)), PROBLEMS["two views"]):
        svg = draw_network(standard_network(of)[1], of)
        placed = _rectangles(svg)
        lanes = re.findall(r'class="edge skip" d="M([\d.]+) ([\d.]+)H([\d.]+)q7 0 7 7V([\d.]+)', svg)
        assert lanes
        for _, start, before, end in lanes:
            lane = float(before) + 7
            passed = [box for box in placed if box[1] < float(end) and box[3] > float(start)]
            assert len(passed) > 2
            assert not any(left <= lane <= right for left, _, right, _ in passed)


def test_a_box_says_what_its_layer_is_and_costs() -> None:
    genome = Genome((Convolution(32, (3, 5), stride=(2, 1), normalisation="batch"), FullyConnected(10)))
    view, convolution, dense, head = boxes(genome, problem())
    assert (view.title, view.shape) == ("Input image", (16, 16, 1))
    assert (convolution.title, convolution.shape, convolution.parameters) == ("Convolution", (8, 16, 32), 15 * 32 + 160)
    assert convolution.detail == "32 · 3×5 · stride 2×1 · relu · batch norm"
    assert dense.family == "dense"
    assert (head.title, head.shape, head.parameters) == ("Head", (3,), 33)


def test_branches_are_joined_in_words() -> None:
    genome = Genome((Convolution(8), Convolution(8, inputs=(2,)), Activation("linear", inputs=(1, 2), join="add")))
    assert [box.title for box in boxes(genome, problem())] == [
        "Input image", "Convolution", "Convolution", "Join", "Global pooling", "Head",
    ]  # fmt: skip
    svg = draw_network(genome, problem())
    assert ">add</text>" in svg
    assert ">concatenate</text>" not in svg


def test_deeper_layers_are_indented() -> None:
    genome = Genome((Convolution(4), Pooling(), Convolution(4), Upsampling(), Convolution(4)))
    lefts = [left for left, *_ in _rectangles(draw_network(genome, problem("segmentation")))]
    assert lefts[1] < lefts[2] == lefts[3] > lefts[4]


def test_a_users_kind_is_drawn_like_any_other() -> None:
    genome = Genome((Convolution(8), GroupNormalisation(4)))
    assert boxes(genome, problem())[2].title == "GroupNormalisation"
    assert detail_of(GroupNormalisation(4)) == "4"


@pytest.mark.parametrize(
    ("genome", "text"),
    [
        (Genome((GlobalPooling("max"),)), "GlobalPooling(max)"),
        (Genome((Training("sgd"), Convolution(8))), "Training(sgd · 0.001 · 32 · 0), Convolution(8 · 3 · relu)"),
        (Genome(()), ""),
    ],
)
def test_a_genome_is_written_in_one_line(genome: Genome, text: str) -> None:
    assert summary(genome) == text


def test_a_long_line_is_cut() -> None:
    assert len(summary(Genome(tuple(Convolution(8 + i) for i in range(30))), 50)) == 50


BLOCK = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))


def test_layers_that_are_repeated_are_drawn_once_in_a_frame_that_says_how_often() -> None:
    genome = Genome((Convolution(8, (1,)), *BLOCK * 12, FullyConnected(32)))
    drawn = boxes(genome, problem())
    assert [box.title for box in drawn] == [
        *("Input image", "Convolution", "Convolution", "Convolution", "Activation", "Fully connected", "Head")
    ]
    assert [box.times for box in drawn] == [1, 1, 12, 12, 12, 1, 1]
    assert sum(box.parameters or 0 for box in drawn) == cost_of(genome, problem()).parameters
    svg = draw_network(genome, problem())
    frame = re.search(r'class="cell".*?x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    assert frame is not None
    assert "× 12</text>" in svg
    left, top, width, height = map(float, frame.groups())
    inside = [x > left and x2 < left + width and y > top and y2 < top + height for x, y, x2, y2 in _rectangles(svg)]
    assert inside == [box.cell is not None for box in drawn]


def test_text_says_what_is_repeated() -> None:
    genome = Genome((Convolution(8, (1,)), *BLOCK * 12))
    assert summary(genome, 500) == (
        "Convolution(8 · 1 · relu), 12 × [Convolution(8 · 3 · relu), Convolution(8 · 5 · relu), Activation(relu)]"
    )
