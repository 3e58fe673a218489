"""Cells: what they stand for, and how they are written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import GenomeError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Activation, Convolution, Dropout, Pooling
from tests.examples import examples
from tests.genomes import graphs
from tests.problems import PROBLEMS

STEM = Convolution(16)
RESIDUAL = (
    Convolution(16),
    Convolution(16, activation="linear"),
    Activation("relu", inputs=(1, 3), join="add"),
)
DENSE = (Convolution(32, (1,)), Convolution(8), Activation("linear", inputs=(1, 3)))


def written(genome: Genome) -> Genome:
    return Genome.from_dict(json.loads(json.dumps(genome.to_dict())))


def test_a_cell_stands_for_its_body_so_many_times() -> None:
    cell = Genome((STEM, Cell(body=RESIDUAL, times=3), Pooling()))
    flat = Genome((STEM, *RESIDUAL * 3, Pooling()))
    assert cell.layers == flat.layers
    assert cell.sources == flat.sources
    assert (len(cell), len(flat)) == (3, 11)
    assert cell == flat
    assert cell.canonical().genes == flat.canonical().genes


def test_a_cell_costs_what_its_layers_cost() -> None:
    problem = PROBLEMS["classes of 2-D images"]
    cell, flat = Genome((STEM, Cell(body=DENSE, times=4))), Genome((STEM, *DENSE * 4))
    assert cost_of(cell, problem) == cost_of(flat, problem)
    assert cost_of(cell, problem).layers[-2].shape[-1] == 16 + 4 * 8  # each repetition reads a wider image


def test_the_first_repetition_reads_what_the_cell_reads_and_later_layers_read_the_last_one() -> None:
    genome = Genome(
        (
            STEM,
            Convolution(16, (5,), inputs=(2,)),
            Cell(body=RESIDUAL, times=2, inputs=(1, 2), join="add"),
            Pooling(inputs=(1, 3)),
        )
    )
    join = Activation("linear", inputs=(1, 2), join="add")
    assert genome.layers == (*genome.genes[:2], join, *RESIDUAL * 2, Pooling(inputs=(1, 9)))


def test_the_body_sees_no_further_than_what_its_repetition_reads() -> None:
    far = tuple(replace(layer, inputs=tuple(d if d < 3 else d + 50 for d in layer.inputs)) for layer in RESIDUAL)
    assert Genome((STEM, Cell(body=far, times=2))) == Genome((STEM, Cell(body=RESIDUAL, times=2)))


@examples(60)
@given(graphs(), graphs(largest=4, views=1), st.integers(2, 4))
def test_a_cell_is_a_layer_among_others_in_any_graph(genome: Genome, body: Genome, times: int) -> None:
    place = len(genome.layers) // 2
    cell = Cell(body=body.layers, times=times, inputs=genome.layers[place].inputs, join=genome.layers[place].join)
    given = Genome((*genome.layers[:place], cell, *genome.layers[place + 1 :]))
    back = written(given)
    assert back.genes == given.genes
    assert back.key == given.key == Genome(given.layers).key
    for layer, node in zip(given.layers, given.sources, strict=True):
        assert len(layer.inputs) == len(node)


def test_a_cell_is_written_with_its_layers() -> None:
    cell = Cell(body=RESIDUAL, times=3)
    data = json.loads(json.dumps(cell.to_dict()))
    assert [gene["kind"] for gene in data["body"]] == ["Convolution", "Convolution", "Activation"]
    assert (data["kind"], data["times"]) == ("Cell", 3)
    assert Gene.from_dict(data) == cell


def _cell(**fields: Any) -> dict[str, Any]:
    return {"kind": "Cell", "body": [Dropout(0.5).to_dict()], "times": 2, **fields}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_cell(times=0), r"Cell: times: expected an integer from 1 to 100, got 0"),
        (_cell(times=10**9), r"Cell: times: expected an integer from 1 to 100, got 1000000000"),
        (_cell(times="many"), r"Cell: times: expected an integer from 1 to 100, got"),
        (_cell(times=True), r"Cell: times: "),
        (_cell(body=[]), r"Cell: body: expected 1 to 100 layers, got 0 of them"),
        (_cell(body=[Dropout().to_dict()] * 101), r"Cell: body: expected 1 to 100 layers, got 101 of them"),
        (_cell(body=3), r"Cell: body: expected 1 to 100 layers, got 3"),
        (_cell(body=["conv"]), r"Cell: body: layer 0: expected a layer that is no cell, got 'conv'"),
        (_cell(body=[_cell()]), r"Cell: body: layer 0: expected a layer that is no cell, got \{'body': "),
        (_cell(body=[{"kind": "Training"}]), r"Cell: body: layer 0: expected a gene of kind Layer, got Training"),
        (_cell(body=[{"kind": "Dropout", "rat": 1}]), r"Cell: body: layer 0: Dropout: unknown field 'rat'"),
        (_cell(inputs=[0]), r"Cell: inputs: expected offsets from 1"),
        ({"kind": "Cell"}, r"Cell: cannot be made: .*'body'"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_line(data: dict[str, Any], message: str) -> None:
    with pytest.raises(GenomeError, match=message) as error:
        Genome.from_dict({"genes": [data]})
    assert len(str(error.value)) <= 500
    assert "\n" not in str(error.value)


def test_a_few_cells_cannot_stand_for_millions_of_layers() -> None:
    large = _cell(body=[Dropout(0.5).to_dict()] * 100, times=100)
    with pytest.raises(GenomeError, match=r"expected at most 10,000 layers with all repetitions, got 30,003"):
        Genome.from_dict({"genes": [large] * 3})


def test_a_body_of_unknown_kinds_is_kept_as_it_is() -> None:
    data = {"genes": [_cell(body=[{"kind": "elsewhere:Kind", "inputs": [1], "join": "add", "size": 3}])]}
    genome = Genome.from_dict(data)
    assert genome.unknown_kinds == ["elsewhere:Kind"]
    assert genome.to_dict()["genes"][0]["body"] == data["genes"][0]["body"]


def test_layers_that_change_the_shape_can_be_repeated_as_long_as_the_next_can_read_them() -> None:
    problem = PROBLEMS["classes of 2-D images"]
    shrinking: tuple[Layer, ...] = (Convolution(16, stride=(2,)),)
    cost = cost_of(Genome((Cell(body=shrinking, times=2),)), problem)
    sizes = [np.prod(layer.shape[:-1]) for layer in cost.layers[:2]]
    assert sizes[0] == 4 * sizes[1]
