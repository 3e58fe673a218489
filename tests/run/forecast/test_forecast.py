"""A forecast is stored as it is, and shown beside what came."""

from __future__ import annotations

import json

import pytest

from menndl_dask.errors import UserError
from menndl_dask.run.forecast.forecast import CostForecast, Interval
from tests.forecasts import made_up_forecast


def test_a_forecast_is_read_back_from_json() -> None:
    made = made_up_forecast(comparison_s=Interval(100, 60, 170))
    assert CostForecast.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_what_is_no_forecast_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"forecast: unknown key 'hourz'"):
        CostForecast.from_dict({**made_up_forecast().to_dict(), "hourz": 3})
    with pytest.raises(UserError, match=r"forecast: seconds: expected .* got 'long'"):
        CostForecast.from_dict({**made_up_forecast().to_dict(), "seconds": "long"})


def test_the_line_has_the_time_with_its_interval_and_where_it_is_from() -> None:
    line = made_up_forecast().line()
    expected = "80 evaluations on 2 workers in 1 h (40 min to 1 h 30 min), 80 (53 to 120) networks an hour"
    assert line == f"forecast: {expected}; by a trial"
    assert "8 (5.33 to 12) node-hours" in made_up_forecast(nodes=8).line()


def test_beside_what_came_each_figure_says_whether_it_is_in_its_interval() -> None:
    table = made_up_forecast().beside({"seconds": 5000.0, "saved": 0.5})
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["time of the search"] == ["1 h", "40 min to 1 h 30 min", "1 h 23 min", "yes"]
    assert rows["training time saved by early stopping"][-2:] == ["50%", "no"]
    assert rows["written by the run"][-2:] == ["–", "–"]
