"""The table of a network: a row for each layer or repeated layer, and sums that are those of the cost."""

from __future__ import annotations

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, FullyConnected, Pooling
from menndl_dask.report.network.layer_table import HEAD, layer_by_layer, layer_table
from menndl_dask.report.network_drawing import boxes
from menndl_dask.text import quantity, size
from tests.problems import problem


def test_a_row_says_what_a_layer_costs_in_both_directions() -> None:
    genome = Genome((Convolution(8), Pooling(), FullyConnected(10)))
    table = layer_table(boxes(genome, problem()), 32)
    assert table is not None
    rows = [dict(zip(HEAD, row, strict=True)) for row in table.rows]
    assert [row["layer"] for row in rows] == ["Convolution", "Pooling", "Fully connected", "Head", "all"]
    # 3 × 3 × 1 × 8 weights at 256 places, a bias and a relu for 2,048 values
    assert rows[0] == {
        "layer": "Convolution", "settings": "8 · 3 · relu", "output": "16×16×8", "parameters": "80",
        "FLOPs forward": "41.0 k", "by weights": "41.0 k", "by inputs": "–", "memory": "8.00 KiB", "FLOP/byte": "4.4",
    }  # fmt: skip
    assert (rows[1]["by weights"], rows[1]["by inputs"]) == ("–", "2.05 k")
    cost = cost_of(genome, problem())
    assert rows[-1]["FLOPs forward"] == quantity(cost.flops_forward)
    assert rows[-1]["by inputs"] == quantity(cost.flops_inputs)
    assert rows[-1]["memory"] == size(sum(each.activation_bytes for each in cost.layers))


def test_repeated_layers_have_one_row() -> None:
    genome = Genome((Convolution(8), *(Convolution(8, (5,)), Convolution(8, (7,))) * 6))
    table = layer_table(boxes(genome, problem()), 1)
    assert table is not None
    assert [row[0] for row in table.rows[1:3]] == ["6 × Convolution"] * 2
    assert table.rows[-1][3] == quantity(cost_of(genome, problem()).parameters)


def test_there_is_no_table_where_costs_are_not_known() -> None:
    assert layer_table(boxes(Genome((Convolution(8),))), 1) is None
    assert layer_by_layer(boxes(Genome((Convolution(8),))), None) == ""
