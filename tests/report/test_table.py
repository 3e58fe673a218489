"""The table of networks: aligned text, the fittest first."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual, ranked
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.table import Row, best_rows, table
from menndl_dask.result import Result
from tests import stories

ROWS = [
    Row("network 7", 0.8731, {"parameters": 12_345.0, "flops_forward": 4.1e6, "latency_ms": 0.31}),
    Row("a name that is longer than the others", -12.5, {"parameters": 7.0}, {"test_mean_iou": 0.5, "loss": 3.0}),
    Row("U-Net, small", None, {"latency_ms": 1234.5}),
]


def _individual(number: int, kernels: int) -> Individual:
    return Individual(number, Genome((Convolution(kernels),)))


def test_columns_are_aligned() -> None:
    lines = str(table(ROWS, "mean_iou")).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["network", "mean_iou", "parameters", "FLOPs", "latency", "test", "mean", "IoU"]
    for title in ("mean_iou", "parameters", "FLOPs", "latency", "test mean IoU"):
        end = lines[0].index(title) + len(title)
        # numbers end where their heading ends, and a gap follows
        assert all(line[end - 1] != " " and line[end : end + 2].strip() == "" for line in lines)
    assert all(line == line.rstrip() for line in lines)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_columns_are_aligned_for_any_values(values: list[float]) -> None:
    rows = [Row(f"network {n}", v, {"parameters": abs(v)}) for n, v in enumerate(values)]
    lines = str(table(rows, "r2")).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_column_without_values_is_left_out_and_a_missing_value_is_a_dash() -> None:
    shown = table([Row("a", 0.5), Row("b", None)])
    assert shown.head == ["network", "fitness"]
    assert shown.rows == [["a", "0.5000"], ["b", "–"]]
    assert str(table([Row("a", 0.5, {"latency_ms": math.nan})])).endswith("–")
    assert str(table([])) == "network  fitness"


def test_the_loss_is_not_in_the_table_but_the_test_split_is() -> None:
    head = table(ROWS).head
    assert "loss" not in head
    assert head[-1] == "test mean IoU"


def test_the_fittest_come_first_and_equal_networks_once() -> None:
    told = [
        (_individual(0, 8), Result(0.5)),
        (_individual(1, 16), Result(0.9)),
        (_individual(2, 8), Result(0.7)),
        (_individual(3, 32), Result.failed("diverged")),
        (_individual(4, 64), Result(0.7)),
    ]
    assert [individual.id for individual, _ in ranked(told)] == [1, 2, 4]
    assert [row.name for row in best_rows(told, 2)] == ["network 1", "network 2"]
    assert ranked([]) == []


def test_a_network_that_the_search_began_with_is_marked() -> None:
    seed = replace(_individual(3, 16), origin="seeded")
    assert [row.name for row in best_rows([(seed, Result(0.9))])] == ["network 3 (given)"]


def test_the_best_of_a_search_are_sorted() -> None:
    found = [result.fitness for _, result in ranked(stories.evaluations(30))]
    assert len(found) == 10
    assert found == sorted(found, key=lambda f: -(f or 0))
