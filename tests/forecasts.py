"""Forecasts that were never made, for tests of what stores and shows them."""

from __future__ import annotations

from typing import Any

from menndl_dask.run.forecast.forecast import CostForecast, Interval


def made_up_forecast(**changes: Any) -> CostForecast:
    """Return a forecast of 80 evaluations on two workers."""
    values: dict[str, Any] = {
        "evaluations": 80, "workers": 2, "nodes": 1, "seconds": Interval(3600, 2400, 5400),
        "per_hour": Interval(80, 53, 120), "network_s": Interval(90, 60, 135), "saved": Interval(0.2, 0.1, 0.3),
        "staged_bytes": 1e6, "written_bytes": Interval(1e6, 6e5, 2e6), "basis": "a trial",
    }  # fmt: skip
    return CostForecast(**{**values, **changes})
