"""The table of forecasts says what was forecast, what came, and how often the interval held."""

from __future__ import annotations

from benchmarks.forecast import table
from tests.forecasts import made_up_forecast


def test_a_run_is_a_row_and_the_coverage_is_counted() -> None:
    made = made_up_forecast().to_dict()
    near = {"name": "stem", "seed": 0, "load": 2.2, "load_after": 3.4, "before": made, "first": made}
    far = {**near, "seed": 1, "first": None, "without_first": 7200.0}
    lines = table([{**near, "without_first": 4000.0, "actual": {"seconds": 4500.0}}, far]).splitlines()
    assert lines[2].split(" | ")[3:6] == ["1 h 6 min", "1.11", "yes"]
    assert lines[3].split(" | ")[3:6] == ["2 h", "2.00", "no"]
    assert lines[-2] == "by short trainings: 1 of 2 within 30 %, 1 of 2 in the interval that is meant for 4 of 5"
    assert lines[-1] == "by the first results: 1 of 1 within 30 %, 1 of 1 in the interval that is meant for 4 of 5"
