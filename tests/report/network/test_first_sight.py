"""The drawing at first sight: no higher than a screen, with every layer and cost in it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Activation, Convolution, Pooling
from menndl_dask.report.network.first_sight import SCREEN, at_first_sight, drawings
from menndl_dask.report.network_drawing import boxes, draw_boxes, height_of
from menndl_dask.space.standard.standard import named_network, standard_network
from tests.problems import PROBLEMS, problem

# no two alike, so that there is no cell
DEEP = tuple(Convolution(8 + i) if i % 4 else Pooling() for i in range(1, 24))


def test_a_shallow_network_is_drawn_as_it_is() -> None:
    nodes = boxes(Genome(DEEP[:5]), problem())
    assert at_first_sight(nodes) == nodes
    assert "<details>" not in drawings(nodes)


def test_a_deep_network_is_no_higher_than_a_screen_and_opens_on_a_click() -> None:
    of = problem(shapes=((128, 128, 1),))
    nodes = boxes(Genome(DEEP), of)
    assert height_of(nodes) > SCREEN
    first = at_first_sight(nodes)
    assert height_of(first) <= SCREEN
    assert [box.title for box in first[1:3]] == ["3 layers", "4 layers"]
    assert (first[1].detail, first[1].shape) == ("3 × Convolution", (128, 128, 11))
    assert first[2].detail == "3 × Convolution, Pooling"
    cost = cost_of(Genome(DEEP), of)
    assert sum(box.parameters or 0 for box in first) == cost.parameters
    assert sum(box.flops_forward for box in first) == cost.flops_forward
    assert "<details><summary>All 23 layers</summary>" in drawings(nodes)


def test_layers_of_any_size_share_a_box_where_those_of_one_size_are_not_enough() -> None:
    nodes = boxes(Genome(tuple(Convolution(4 + i, stride=(2,)) for i in range(20))), problem(shapes=((2**20, 1),)))
    first = at_first_sight(nodes)
    assert [box.title for box in first] == ["Input image", "20 layers", "Global pooling", "Head"]


def test_branches_and_cells_stay() -> None:
    block = (Convolution(8), Convolution(8, (5,)), Activation("relu", inputs=(1, 3), join="add"))
    nodes = boxes(Genome((*DEEP, Convolution(8), *block * 6)), problem(shapes=((128, 128, 1),)))
    first = at_first_sight(nodes)
    (joined,) = [box for box in first if box.join]
    assert len(joined.sources) == 2 and joined.times == 6
    assert [box.cell for box in first].count(joined.cell) == 2  # both convolutions share a box
    ET.fromstring(draw_boxes(first))


@pytest.mark.parametrize("name", ["resnet50", "googlenet"])
def test_blocks_of_one_image_size_share_a_box_in_networks_of_many_blocks(name: str) -> None:
    of = problem(shapes=((64, 64, 3),))
    _, genome = named_network(name, of)
    nodes = boxes(genome, of)
    first = at_first_sight(nodes)
    assert height_of(first) <= SCREEN < height_of(nodes)
    assert len(first) >= 6  # not all in one
    assert sum(box.parameters or 0 for box in first) == cost_of(genome, of).parameters
    assert all(len(box.sources) == 1 for box in first[1:])
    ET.fromstring(draw_boxes(first))


@pytest.mark.parametrize("name", ["classes of 2-D images", "pixels of 2-D images", "pixels of 3-D images"])
def test_standard_networks_are_no_higher_than_a_screen_unless_their_branches_are(name: str) -> None:
    _, genome = standard_network(PROBLEMS[name])
    nodes = boxes(genome, PROBLEMS[name])
    first = at_first_sight(nodes)
    assert height_of(first) <= SCREEN
    assert sum(box.parameters or 0 for box in first) == cost_of(genome, PROBLEMS[name]).parameters
