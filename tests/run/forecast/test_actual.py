"""What a search did cost follows from its journal alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.run.forecast import actual
from menndl_dask.run.run import Run
from tests import runs
from tests.forecasts import made_up_forecast


def _run(path: Path, *, forecasts: int = 1, count: int = 12) -> Run:
    evaluations = runs.made_up(count)
    with runs.recorder(path) as recorder:
        recorder.started(evaluations=80)
        for number in range(forecasts):
            recorder.forecast(made_up_forecast(basis=f"forecast {number}").to_dict())
        recorder.asked(individual for individual, _ in evaluations)
        recorder.completed(evaluations)
        recorder.ended()
    return Run(path)


def test_the_time_is_from_each_start_to_its_last_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(tmp_path / "run")
    monkeypatch.setattr(Run, "searched", property(lambda _: [(100.0, 160.0), (1000.0, 1030.0)]))
    found = actual.actual(run)
    assert found["seconds"] == 90
    assert found["per_hour"] == pytest.approx(12 * 40)
    totals = [result.times["total"] - result.times.get("start", 0.0) for _, result in run.evaluations]
    assert found["network_s"] == pytest.approx(sum(totals) / 12)
    assert found["written_bytes"] > 1000


def test_a_start_without_a_result_takes_no_time(tmp_path: Path) -> None:
    with runs.recorder(tmp_path / "run") as recorder:
        recorder.started(evaluations=3)
    run = Run(tmp_path / "run")
    assert [end - begin for begin, end in run.searched] == [0.0]
    assert actual.actual(run) == {}
    assert actual.forecast_beside_actual(run) is None


def test_the_first_forecast_counts_and_not_a_later_one_that_knows_more(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", forecasts=2)
    found = actual.forecast_of(run)
    assert found is not None
    assert found.basis == "forecast 0"
    table = actual.forecast_beside_actual(run)
    assert table is not None
    assert "forecast 0" in table.title
    line = actual.line_beside(run)
    assert line is not None
    assert line.startswith("forecast: 1 h (40 min to 1 h 30 min) for the search, and it took ")


def test_a_run_without_a_forecast_has_none(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", forecasts=0)
    assert actual.forecast_of(run) is None
    assert actual.line_beside(run) is None


def test_the_share_saved_is_of_the_time_that_whole_trainings_would_have_taken() -> None:
    genome = runs.made_up(1)[0][0].genome
    whole = Result(0.5, costs={"train_seconds": 30.0})
    stopped = Result.failed("pruned", costs={"train_seconds": 10.0}, curve=({"share": 1 / 3, "fitness": 0.1},))
    lost = Result.failed("killed", costs={"train_seconds": 10.0})
    each = [(Individual(number, genome), result) for number, result in enumerate((whole, stopped, lost))]
    assert actual.saved_share(each) == pytest.approx(1 - 40 / 60)
    assert actual.saved_share(each[2:]) is None
