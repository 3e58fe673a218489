"""Results passed on as they arrive: to TensorBoard for real, to MLflow and W&B through stand-ins of their libraries."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from menndl_dask.errors import UserError
from menndl_dask.run.run import Run
from menndl_dask.tracking.tracking import Tracking, tracking
from tests.runs import finished, made_up


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return finished(tmp_path / "stem", made_up(6))


def test_each_result_is_passed_on_once_with_the_best_so_far(run: Run) -> None:
    seen: list[tuple[int, Mapping[str, float]]] = []
    passed_on = Tracking(lambda step, values: seen.append((step, values)))
    passed_on(run)
    passed_on(run)
    assert [step for step, _ in seen] == list(range(6))
    best = [values["best"] for _, values in seen if "best" in values]
    assert best == sorted(best)
    assert best[-1] == run.best().result.fitness


def test_tensorboard_reads_the_results_back(run: Run) -> None:
    pytest.importorskip("tensorboard")
    tracking("tensorboard", run.path)(run)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run.path / "tensorboard")).Reload()
    expected = [result.fitness for _, result in run.evaluations if result.fitness is not None]
    assert [event.value for event in found.Scalars("fitness")] == pytest.approx(expected)
    assert "cost/parameters" in found.Tags()["scalars"]
    assert "seconds/train" in found.Tags()["scalars"]


def test_mlflow_and_wandb_get_each_result(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # stand-ins: neither library is installed for the tests
    got: list[tuple[str, int, float]] = []

    def module(name: str, **names: Any) -> None:
        stand_in = ModuleType(name)
        vars(stand_in).update(names)
        monkeypatch.setitem(sys.modules, name, stand_in)

    begun = SimpleNamespace(
        info=SimpleNamespace(run_id="7"), log=lambda values, step: got.append(("wandb", step, values["failed"]))
    )
    module(
        "mlflow", start_run=lambda run_name: begun,
        log_metrics=lambda values, step, run_id: got.append((run_id, step, values["failed"])),
    )  # fmt: skip
    module("wandb", init=lambda **given: begun)
    for name in ("mlflow", "wandb"):
        tracking(name, run.path)(run)
    failed = [float(not result.succeeded) for _, result in run.evaluations]
    assert got == [(who, step, value) for who in ("7", "wandb") for step, value in enumerate(failed)]


def test_an_unknown_name_and_a_missing_library_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="track: expected one of tensorboard, mlflow, wandb, got 'tensorbord'; did you"):
        tracking("tensorbord", run.path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb is not installed: pip install wandb"):
        tracking("wandb", run.path)
