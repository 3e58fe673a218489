"""Rates are learned from measured trainings; with one training they keep usual proportions."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Budget
from menndl_dask.result import Result
from menndl_dask.search.forecast.service_time import ServiceTimes, Timed, Work, batch_of, steps_of
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

IMAGES = problem("segmentation", ((32, 32, 1),), budget=Budget(epochs=4, batch_size=8))


def _works(count: int, seed: int = 0) -> list[Work]:
    space, rng = SearchSpace.image(IMAGES), np.random.default_rng(seed)
    return [Work.of(space.sample(rng), IMAGES) for _ in range(count)]


def test_the_rates_of_a_machine_are_found_from_some_trainings() -> None:
    def seconds(work: Work) -> float:
        return 2e-3 + 3e-4 * work.layers + 8e-11 * work.flops + 2e-9 * work.bytes

    times = ServiceTimes([Timed(work, seconds(work), 5.0) for work in _works(16)])
    others = _works(30, seed=1)
    predicted, _ = times.seconds(others)
    expected = [work.steps * seconds(work) for work in others]
    assert predicted == pytest.approx(expected, rel=0.3)
    assert abs(np.log(predicted / expected).mean()) < 0.08
    assert times.doubt < ServiceTimes([Timed(_works(1)[0], 0.1, 5.0)]).doubt


def test_one_training_predicts_itself_and_longer_ones_of_larger_networks() -> None:
    work = _works(1)[0]
    times = ServiceTimes([Timed(work, 0.05, 6.0)])
    larger = Work(2 * work.layers, 2 * work.flops, 2 * work.bytes, work.steps)
    training, other = times.seconds([work, larger])
    assert training[0] == pytest.approx(0.05 * work.steps, rel=0.02)
    assert 1.5 < training[1] / training[0] <= 2
    assert other[0] == pytest.approx(6.0)
    assert other[1] > 6.0


def test_a_budget_in_seconds_bounds_a_training() -> None:
    training, _ = ServiceTimes([Timed(_works(1)[0], 0.5, 1.0)], seconds=3.0).seconds(_works(5))
    assert training == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        (Budget(epochs=4, batch_size=8), 52),
        (Budget(steps=7), 7),
        (Budget(epochs=4, steps=7), 7),
        (Budget(seconds=9), np.inf),
    ],
)
def test_the_steps_are_those_of_the_unit_that_is_used_up_first(budget: Budget, steps: float) -> None:
    assert steps_of(Genome(()), problem(budget=budget)) == steps


def test_a_training_gene_has_a_batch_of_its_own() -> None:
    assert batch_of(Genome((Training(batch_size=64),)), IMAGES) == 64
    assert batch_of(Genome(()), IMAGES) == 8


def test_a_step_of_a_result_is_that_of_the_steps_it_took() -> None:
    genome = Genome(())
    work = Work.of(genome, IMAGES)
    result = Result(0.5, costs={"flops_training": 10 * work.flops}, times={"train": 2.0, "total": 5.0, "start": 1.0})
    assert Timed.of(genome, result, IMAGES) == Timed(work, pytest.approx(0.2), pytest.approx(2.0))
    assert Timed.of(genome, Result.failed("killed"), IMAGES) is None
