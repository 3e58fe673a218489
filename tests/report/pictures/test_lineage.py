"""The lineage of a network: who its ancestors are, and what each step changed."""

from __future__ import annotations

from dataclasses import replace

from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.genome.layers import Convolution, Dropout, Pooling
from menndl_dask.report.pictures.lineage import changes, lineage, lineage_figure
from menndl_dask.result import Result


def _one(number: int, *genes: Gene, parents: tuple[int, ...] = (), fitness: float = 0.5) -> Evaluation:
    return Individual(number, Genome(genes), parents, "step" if parents else "random"), Result(fitness)


def test_the_parent_that_gave_most_layers_is_followed() -> None:
    told = [
        _one(0, Convolution(8), Pooling(), fitness=0.9),
        _one(1, Convolution(64), Convolution(32), fitness=0.1),
        _one(2, Convolution(64), Convolution(32), Pooling(), parents=(0, 1), fitness=0.6),
        _one(3, Convolution(64), Convolution(16), Pooling(), parents=(2,), fitness=0.7),
    ]
    steps = lineage(told, told[3][0])
    assert [step.evaluation[0].id for step in steps] == [1, 2, 3]
    assert [step.changes for step in steps] == [[], ["added Pooling 2 · max · stride 2"], ["Convolution 32 → 16"]]


def test_changes_are_said_layer_by_layer() -> None:
    first = Genome((Convolution(16), Dropout(0.25), Pooling()))
    assert changes(first, Genome((Convolution(16), Pooling()))) == ["removed Dropout rate 0.25"]
    assert changes(first, Genome((Convolution(16), Dropout(0.25), Convolution(8)))) == [
        "Pooling 2 · max · stride 2 → Convolution 8 · 3 · relu"
    ]
    assert changes(first, first) == ["the same network"]


def test_unknown_parents_and_circles_end_a_lineage() -> None:
    lost = _one(7, Convolution(8), parents=(3,))
    assert [step.evaluation[0].id for step in lineage([lost], lost[0])] == [7]
    ring = [_one(0, Convolution(8), parents=(1,)), _one(1, Convolution(16), parents=(0,))]
    assert len(lineage(ring, ring[0][0])) == 2
    assert lineage([], lost[0]) == []
    assert lineage_figure([], "R²") == ""


def test_a_long_lineage_is_shortened_and_names_are_escaped() -> None:
    told = [_one(n, Convolution(8 + n), parents=(n - 1,) if n else ()) for n in range(60)]
    told[-1] = (replace(told[-1][0], origin="<img src=x>"), told[-1][1])
    steps = lineage(told, told[-1][0])
    svg = lineage_figure(steps, "<b>")
    assert len(steps) == 60
    assert "… 37 steps …" in svg
    assert svg.count("<circle") == 23
    assert "<img" not in svg
    assert "<b>" not in svg
