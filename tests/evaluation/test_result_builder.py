"""The builder of an evaluation: what was told before the end is kept, whatever the end."""

from __future__ import annotations

import time

import pytest

from menndl_dask.evaluation.result_builder import ResultBuilder


def test_a_training_that_ends_well() -> None:
    builder = ResultBuilder(seed=5)
    now = time.monotonic()
    for offset, phase in enumerate(["data", "build", "train", "measure", "train", "measure"]):
        builder.update({"phase": phase, "at": now + offset})
    builder.update({"costs": {"parameters": 10}, "point": {"epoch": 1.0, "fitness": 0.5}})
    builder.update({"metrics": {"loss": 0.3}})
    assert not builder.is_complete
    builder.update({"fitness": 0.5})
    builder.fail("killed", "too late to matter")
    result = builder.result()
    assert (result.fitness, result.failure, result.seed) == (0.5, None, 5)
    assert result.times["train"] == pytest.approx(2.0)
    assert result.costs == {"parameters": 10, "train_seconds": pytest.approx(2.0)}
    assert result.metrics == {"loss": 0.3}


def test_a_training_that_is_cut_off_keeps_its_curve_and_its_last_fitness() -> None:
    builder = ResultBuilder(seed=0)
    builder.update({"phase": "train", "at": time.monotonic()})
    for epoch in (1.0, 2.0):
        builder.update({"point": {"epoch": epoch, "fitness": epoch / 10}})
    builder.fail("timed_out", "it took too long")
    result = builder.result()
    assert (result.fitness, result.failure, result.message) == (None, "timed_out", "it took too long")
    assert result.metrics["fitness"] == 0.2
    assert len(result.curve) == 2
    assert result.times["start"] >= 0


def test_a_training_that_goes_on_has_a_whole_curve_and_counts_what_it_took_before() -> None:
    builder = ResultBuilder(seed=0)
    now = time.monotonic()
    before = [{"epoch": 1.0, "fitness": 0.1}, {"epoch": 2.0, "fitness": 0.2}]
    builder.update({"resumed": "went on after 2 epochs", "curve": before, "metrics": {"loss": 0.9}, "seconds": 40.0})
    builder.update({"phase": "train", "at": now})
    builder.update({"phase": "measure", "at": now + 2})
    builder.update({"point": {"epoch": 3.0, "fitness": 0.3}, "metrics": {"loss": 0.5}})
    builder.update({"fitness": 0.3})
    result = builder.result()
    assert result.message == "went on after 2 epochs"
    assert [point["epoch"] for point in result.curve] == [1, 2, 3]
    assert result.costs["train_seconds"] == pytest.approx(42)
    assert result.times["train"] == pytest.approx(2)
    assert result.metrics == {"loss": 0.5}


def test_a_training_that_begins_anew_tells_why_and_forgets_its_curve() -> None:
    for outcome, message in (
        ({"fitness": 0.5}, "trained in float32"),
        ({"failure": "diverged", "message": "the loss became nan"}, "the loss became nan; trained in float32"),
    ):
        builder = ResultBuilder(seed=0)
        builder.update({"phase": "train", "at": time.monotonic()})
        builder.update({"point": {"epoch": 1.0, "fitness": 0.9}, "metrics": {"loss": 9.0}, "costs": {"parameters": 3}})
        builder.update({"restarted": "trained in float32"})
        assert not builder.is_complete
        builder.update({"phase": "train", "at": time.monotonic()})
        builder.update({"point": {"epoch": 1.0, "fitness": 0.5}})
        builder.update(outcome)
        result = builder.result()
        assert result.message == message
        assert [point["fitness"] for point in result.curve] == [0.5]
        assert "loss" not in result.metrics
        assert result.costs["parameters"] == 3
