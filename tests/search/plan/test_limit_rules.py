"""Rules of limits: the standard network fits, and an hour is filled."""

from __future__ import annotations

import pytest

from menndl_dask.genome.cost import cost_of
from menndl_dask.run.forecast.forecast import Interval
from menndl_dask.search.plan import limit_rules
from menndl_dask.space.standard.standard import standard_network
from tests.forecasts import made_up_forecast
from tests.problems import problem

GB = 1e9


def test_the_space_leaves_room_for_keras_within_the_memory_limit() -> None:
    step = limit_rules.max_memory(4.0, 0.9 * GB, None).value * GB
    assert limit_rules.needed_bytes(step, 0.9 * GB) <= 4 * GB
    assert limit_rules.max_memory(4.0, 0.9 * GB, 2 * GB).value < step / GB
    assert "fits into a GPU of 2 GB" in limit_rules.max_memory(4.0, 0.9 * GB, 2 * GB).reason


def test_the_standard_network_is_within_the_planned_limits() -> None:
    standard = cost_of(standard_network(problem("segmentation"))[1], problem("segmentation"))
    assert standard.parameters <= limit_rules.max_parameters(standard).value <= 20e6
    assert standard.flops_forward < limit_rules.max_flops(standard, 60.0).value


@pytest.mark.parametrize(("training_s", "times"), [(300.0, 1.5), (100.0, 3), (60.0, 5), (3.0, 6), (None, 1.5)])
def test_a_short_training_leaves_room_for_larger_networks(training_s: float | None, times: float) -> None:
    standard = cost_of(standard_network(problem())[1], problem())
    ratio = limit_rules.max_flops(standard, training_s).value / standard.flops_forward
    assert ratio == pytest.approx(times, rel=0.05)


def test_the_expected_time_has_the_search_and_the_comparison() -> None:
    forecast = made_up_forecast(seconds=Interval(3600, 2400, 5400), comparison_s=Interval.of(360.0))
    planned = limit_rules.minutes(forecast, None)
    assert planned.value == 66
    reason = "60 minutes for the search (40 minutes to 90 minutes), 6 minutes for the comparison at the end"
    assert planned.reason == reason
    by_hours = limit_rules.minutes(None, 2.0)
    assert (by_hours.value, by_hours.reason) == (120.0, "not timed")
