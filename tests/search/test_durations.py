"""The forecast: how long an evaluation may take, by those that were trained to their end."""

from __future__ import annotations

from menndl_dask.result import Result
from menndl_dask.search.durations import DurationEstimate


def test_nothing_is_said_before_a_handful_is_home() -> None:
    forecast = DurationEstimate(100)
    for _ in range(4):
        forecast.tell(Result(0.5, times={"total": 10.0}))
    assert forecast.seconds == 0
    forecast.tell(Result(0.5, times={"total": 10.0}))
    assert forecast.seconds == 10


def test_what_ended_early_or_has_no_times_does_not_count_and_nothing_exceeds_the_limit() -> None:
    forecast = DurationEstimate(100)
    for _ in range(10):
        forecast.tell(Result(0.5, times={"total": 30.0}))
        forecast.tell(Result.failed("pruned", times={"total": 3.0}))
        forecast.tell(Result(0.5))
    assert forecast.seconds == 30
    for _ in range(10):
        forecast.tell(Result(0.5, times={"total": 300.0}))
    assert forecast.seconds == 100


def test_a_training_that_was_carried_on_counts_with_all_that_it_took() -> None:
    forecast = DurationEstimate(100)
    for _ in range(5):
        forecast.tell(Result(0.5, times={"total": 10.0, "train": 8.0}, costs={"train_seconds": 48.0}))
    assert forecast.seconds == 50
