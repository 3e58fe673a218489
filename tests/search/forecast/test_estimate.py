"""A search is as long as its evaluations dealt to its workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Budget, Problem
from menndl_dask.run.forecast.forecast import Interval
from menndl_dask.search.forecast.estimate import Basis, comparison, forecast, staged_bytes
from menndl_dask.search.forecast.known import drawn
from menndl_dask.search.forecast.service_time import ServiceTimes, Timed, Work
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

IMAGES = problem("segmentation", ((32, 32, 1),), budget=Budget(steps=100, batch_size=8))
WHOLE = replace(IMAGES, budget=IMAGES.budget.without_early_stopping())


def _basis(of: Problem = IMAGES, step_s: float = 0.1) -> Basis:
    genomes = drawn(SearchSpace.image(of), count=40)
    timed = [Timed(Work.of(genome, of), step_s, 2.0) for genome in genomes]
    return Basis(ServiceTimes(timed), genomes, "made-up trainings", 0.1, 0.1)


@pytest.mark.parametrize(("workers", "count"), [(2, 40), (8, 40), (64, 64_000)])
def test_the_time_is_that_of_the_evaluations_divided_among_the_workers(workers: int, count: int) -> None:
    found = forecast(WHOLE, _basis(WHOLE), workers=workers, evaluations=count)
    ideal = count * found.network_s.value / workers
    assert ideal < found.seconds.value < 1.1 * ideal + 15 + found.network_s.value
    assert found.seconds.low < found.seconds.value < found.seconds.high
    assert found.saved == Interval.of(0.0)


def test_early_stopping_saves_more_of_a_longer_search() -> None:
    short, long = (forecast(IMAGES, _basis(), workers=2, evaluations=count) for count in (20, 500))
    assert short.saved.value < 0.1 < long.saved.value
    assert long.network_s.value < short.network_s.value


def test_hours_end_a_search_and_tell_its_evaluations() -> None:
    found = forecast(WHOLE, _basis(WHOLE), workers=4, evaluations=None, hours=1.0)
    assert found.evaluations == pytest.approx(4 * 3600 / found.network_s.value, rel=0.1)
    assert found.seconds.value == pytest.approx(3600, rel=0.05)
    both = forecast(WHOLE, _basis(WHOLE), workers=4, evaluations=10, hours=1.0)
    assert both.evaluations == 10
    with pytest.raises(ValueError, match="evaluations or hours"):
        forecast(WHOLE, _basis(WHOLE), workers=4, evaluations=None)


def test_what_is_done_is_not_done_again() -> None:
    whole = forecast(WHOLE, _basis(WHOLE), workers=2, evaluations=100)
    rest = forecast(WHOLE, _basis(WHOLE), workers=2, evaluations=100, done=90, spent_s=1000.0)
    assert rest.after == 90
    assert 1000 < rest.seconds.value < 1000 + 0.25 * whole.seconds.value
    assert rest.seconds.high - rest.seconds.low < whole.seconds.high - whole.seconds.low


def test_more_doubt_gives_a_wider_interval_around_the_same_value() -> None:
    sure, unsure = (
        forecast(WHOLE, replace(_basis(WHOLE), doubt=doubt), workers=2, evaluations=50).seconds for doubt in (0.05, 0.4)
    )
    assert unsure.high / unsure.low > 1.5 * sure.high / sure.low
    assert unsure.value == pytest.approx(sure.value, rel=0.1)


def test_the_comparison_has_the_finalists_the_standard_network_and_its_short_training() -> None:
    genome = Genome(())
    times = ServiceTimes([Timed(Work.of(genome, IMAGES), 0.1, 2.0)])
    found = comparison(times, IMAGES, genome, workers=1, retrain=4.0, finalists=2)
    assert found.value == pytest.approx(3 * (4 * 10 + 2) + 12, rel=0.02)
    assert comparison(times, IMAGES, genome, workers=8, retrain=4.0, finalists=2).value == pytest.approx(42, rel=0.02)


def test_samples_are_staged_as_float32() -> None:
    assert staged_bytes(problem("segmentation", ((32, 32, 2),))) == 140 * (4 * 32 * 32 * 2 + 32 * 32)


def test_drawn_searches_are_the_same_each_time() -> None:
    first, again = (forecast(IMAGES, _basis(), workers=3, evaluations=30) for _ in range(2))
    assert first == again
    assert np.isfinite(first.per_hour.high)
