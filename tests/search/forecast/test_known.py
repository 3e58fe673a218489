"""What is known before a search: from earlier runs, or from its own first results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.individual import Evaluation
from menndl_dask.run.run import Run
from menndl_dask.search.forecast.estimate import forecast
from menndl_dask.search.forecast.known import by_runs, drawn
from menndl_dask.search.forecast.live import LiveForecast
from menndl_dask.search.forecast.service_time import Work
from menndl_dask.space.space import SearchSpace
from tests import runs, stories
from tests.forecasts import made_up_forecast
from tests.problems import problem

SPACE = SearchSpace.image(stories.STEM)


def _evaluations(count: int) -> list[Evaluation]:
    """Return evaluations that took the steps of their budget."""
    found = []
    for individual, result in stories.evaluations(count, failing=0.0):
        work = Work.of(individual.genome, stories.STEM)
        found.append((individual, replace(result, costs={**result.costs, "flops_training": work.steps * work.flops})))
    return found


def test_earlier_runs_say_how_long_evaluations_take(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", _evaluations(50))
    basis = by_runs(stories.STEM, [run], [])
    assert basis.in_words == "50 trainings of 1 earlier run"
    assert len(basis.genomes) == 50
    assert basis.saved is not None
    found = forecast(stories.STEM, basis, workers=2, evaluations=50)
    totals = [result.times["total"] for _, result in run.evaluations]
    assert found.network_s.has(sum(totals) / len(totals))


def test_a_run_on_other_images_gives_its_speed_and_not_its_networks(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", _evaluations(12))
    other = problem("segmentation", ((32, 32, 1),))
    basis = by_runs(other, [run], drawn(SearchSpace.image(other), count=5))
    assert len(basis.genomes) == 5
    assert basis.in_words.endswith("on other images")


def test_a_run_without_a_training_is_refused_in_one_line(tmp_path: Path) -> None:
    run = runs.finished(tmp_path / "run", [])
    with pytest.raises(UserError, match=r"--from .*run: expected a run in which a network was trained, got none"):
        by_runs(stories.STEM, [run], [])


def _due(live: LiveForecast, workers: int = 2, evaluations: int = 40) -> object:
    return live.due(stories.STEM, SPACE, workers=workers, evaluations=evaluations, hours=None, spent_s=60.0)


def test_a_planned_forecast_is_told_once_when_workers_are_there() -> None:
    lines: list[str] = []
    live = LiveForecast(made_up_forecast(), lines.append)
    assert _due(live, workers=0) is None
    assert _due(live) == made_up_forecast()
    assert _due(live) is None
    assert lines == [made_up_forecast().line()]


def test_without_a_plan_the_first_results_give_the_forecast() -> None:
    lines: list[str] = []
    live = LiveForecast(say=lines.append, per_node=1)
    for number, evaluation in enumerate(_evaluations(8)):
        live.add(evaluation)
        if number < 5:
            assert _due(live) is None
    made = _due(live)
    assert made is not None
    assert "by its first 8 results" in lines[0]
    assert "node-hours" in lines[0]
    assert _due(live) is None


def test_a_resumed_search_is_forecast_from_its_results_and_not_by_the_plan() -> None:
    live = LiveForecast(made_up_forecast())
    for evaluation in _evaluations(12):
        live.add(evaluation)
    made = live.due(stories.STEM, SPACE, workers=2, evaluations=40, hours=None, spent_s=100.0)
    assert made is not None
    assert made.after == 12
    assert made.seconds.low > 100


def test_at_the_end_of_a_search_no_forecast_is_made() -> None:
    live = LiveForecast()
    for evaluation in _evaluations(12):
        live.add(evaluation)
    assert _due(live, evaluations=14) is None


def test_the_run_of_a_forecast_is_read_as_any_other(tmp_path: Path) -> None:
    with runs.recorder(tmp_path / "run") as recorder:
        recorder.forecast(made_up_forecast().to_dict())
    assert Run(tmp_path / "run").forecasts == [made_up_forecast().to_dict()]
