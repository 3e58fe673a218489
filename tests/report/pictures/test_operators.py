"""What worked in a search: success of operators, outcomes over time, and what mattered."""

from __future__ import annotations

import numpy as np

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.pictures.operators import importance_figure, operator_figure, outcome_figure
from menndl_dask.result import Result
from tests import stories

GENOME = Genome((Convolution(8),))


def _one(number: int, fitness: float | None, parents: tuple[int, ...] = (), origin: str = "random"):  # type: ignore[no-untyped-def]
    result = Result.failed("pruned") if fitness is None else Result(fitness)
    return Individual(number, GENOME, parents, origin), result


def test_an_operator_succeeds_where_a_network_is_fitter_than_its_fittest_parent() -> None:
    told = [
        _one(0, 0.5),
        _one(1, 0.7),
        _one(2, 0.6, (0, 1), "uniform"),
        _one(3, 0.8, (0, 1), "uniform"),
        _one(4, None, (3,), "scale_width"),
        _one(5, 0.9, (99,), "step"),  # an unknown parent
    ]
    svg = operator_figure(told)
    assert ">1 of 2, by 0.1 on average<" in svg
    assert ">0 of 1<" in svg
    assert ">scale width<" in svg
    assert "step" not in svg
    assert operator_figure(told[:2]) == ""


def test_outcomes_have_a_column_for_each_part_of_the_search() -> None:
    story = stories.story(120)
    svg = outcome_figure(story.evaluations)
    failed = sum(not result.succeeded for _, result in story.evaluations)
    assert f"{failed} failed, 0 stopped early" in svg
    assert svg.count('class="bar done"') <= 40
    stopped = [(individual, Result.failed("pruned")) for individual, _ in story.evaluations]
    svg = outcome_figure(stopped)
    assert "0 failed, 120 stopped early" in svg
    assert 'class="bar failed' not in svg
    assert outcome_figure([]) == ""


def test_what_mattered_is_what_the_fitness_follows() -> None:
    told = [
        (individual, Result(float(np.log10(result.costs["parameters"]))))
        for individual, result in stories.evaluations(90, failing=0.0)
    ]
    svg = importance_figure(told, stories.STEM)
    names = [part.partition("<")[0] for part in svg.split('text-anchor="end">')[1:]]
    assert names[0] == "number of parameters"
    assert len(names) == 9


def test_what_mattered_is_not_guessed() -> None:
    assert importance_figure(stories.evaluations(20), stories.STEM) == ""
    assert importance_figure(stories.evaluations(60), None) == ""
