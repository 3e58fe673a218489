"""What a search did cost, for a comparison with its forecast. Runs on the driver."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from menndl_dask.errors import RunError, reading
from menndl_dask.genome.individual import Evaluation
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.run.run import Run
from menndl_dask.run.usage.usage import EARLY
from menndl_dask.text import TextTable, duration


def forecast_beside_actual(run: Run) -> TextTable | None:
    """Return the forecast of a run beside what came; None without a forecast or a result."""
    forecast = forecast_of(run)
    if forecast is None:
        return None
    found = actual(run, forecast.nodes)
    return forecast.beside(found) if found else None


def forecast_of(run: Run) -> CostForecast | None:
    """Return the forecast that was made first with what the run asks for now; None if it has none."""
    with reading(run.path, RunError):
        made = [CostForecast.from_dict(each) for each in run.forecasts]
    return next((each for each in made if each.evaluations == made[-1].evaluations), None)


def actual(run: Run, nodes: int = 1) -> dict[str, float]:
    """Return what a search did cost so far, by the names of the fields of a forecast; empty without a result."""
    evaluations = list(run.evaluations)
    seconds = searched_s(run)
    if not evaluations or not seconds:
        return {}
    known = [result.times for _, result in evaluations if "total" in result.times]
    each_s = [times["total"] - max(0.0, times.get("start", 0.0)) for times in known]  # a worker starts only once
    found = {
        "seconds": seconds,
        "node_hours": nodes * seconds / 3600,
        "per_hour": 3600 * len(evaluations) / seconds,
        "written_bytes": float(_bytes_in(run.path)),
    }
    if each_s:
        found["network_s"] = sum(each_s) / len(each_s)
    saved = saved_share(evaluations)
    return found if saved is None else {**found, "saved": saved}


def searched_s(run: Run) -> float:
    """Return the seconds from each start of a driver to its last result, added; with islands, of the slowest one."""
    each = list(run.islands.values()) or [run]
    return max(sum(end - begin for begin, end in one.searched) for one in each)


def saved_share(evaluations: Iterable[Evaluation]) -> float | None:
    """Return the share of the training time that early stopping has saved; None if no training is known."""
    spent = whole = 0.0
    for _, result in evaluations:
        seconds, share = result.costs.get("train_seconds", 0.0), 1.0
        if result.failure in EARLY and result.curve:
            share = min(1.0, result.curve[-1].get("share", 1.0)) or 1.0
        elif result.failure is not None:
            continue
        spent, whole = spent + seconds, whole + seconds / share
    return 1 - spent / whole if whole else None


def line_beside(run: Run) -> str | None:
    """Say in one line how long the search took and what was forecast; None without a forecast or a result."""
    forecast = forecast_of(run)
    found = {} if forecast is None else actual(run, forecast.nodes)
    if forecast is None or not found:
        return None
    return (
        f"forecast: {forecast.seconds.text(duration)} for the search, and it took {duration(found['seconds'])}; "
        f"{forecast.per_hour.value:,.0f} networks an hour, and there were {found['per_hour']:,.0f}"
    )


def _bytes_in(folder: Path) -> int:
    return sum(
        entry.lstat().st_size
        for top, _, names in os.walk(folder)
        for entry in (Path(top) / name for name in names)
        if ".zarr" not in top or "run.zarr" in top  # a workflow keeps its data there too
    )
