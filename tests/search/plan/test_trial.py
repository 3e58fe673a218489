"""A trial trains the standard network beside as many copies of it as a search has neighbours."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Budget
from menndl_dask.result import Result
from menndl_dask.search.plan import trial
from menndl_dask.search.plan.machine import Machine
from tests.problems import problem

IMAGES = problem(budget=Budget(epochs=2, batch_size=8))
NETWORK = Genome(())


@dataclass
class Trainings:
    """Stands for `evaluate`: so many have to run beside each other until they end."""

    together: int
    failure: str | None = None
    seconds: list[float] = field(default_factory=lambda: [2.0, 4.0])
    slots: int = 1

    def __post_init__(self) -> None:
        self._barrier = threading.Barrier(self.together, timeout=120)
        self._lock = threading.Lock()

    def __call__(self, individual: Any, of: Any, limits: Any) -> Result:
        assert of.budget.seconds is not None
        self._barrier.wait()
        if self.failure is not None:
            return Result.failed(self.failure, "made up")
        with self._lock:
            seconds = self.seconds.pop(0)
        cost = cost_of(NETWORK, of)
        costs = {"flops_training": 20 * 8 * cost.flops_training, "memory_bytes": 1e9 + seconds}
        times = {"data": 0.5, "build": 1.5, "measure": 0.25}
        return Result(0.5, costs=costs, times=times, curve=({"seconds": seconds, "share": 1.0, "fitness": 0.5},))

    def grow(self, count: int) -> None:
        self.slots = count


def _trial(trainings: Trainings, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> trial.Trial:
    monkeypatch.setattr(trial, "evaluate", trainings)
    monkeypatch.setattr(trial, "pool_of", lambda _: trainings)
    monkeypatch.setattr(trial, "close", lambda: None)
    return trial.run_trial(IMAGES, NETWORK, machine)


def test_the_step_is_the_mean_of_trainings_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = Trainings(2)
    found = _trial(trainings, Machine(2), monkeypatch)
    assert trainings.slots == 2
    assert found.step_s == pytest.approx(3.0 / 20)
    assert found.other_s == pytest.approx(0.5 + 1.5 + 4 * 0.25)
    assert found.memory_bytes == 1e9 + 4.0


def test_the_environment_says_how_long_it_takes_and_what_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("2", 2.0), (None, 6.0)):
        monkeypatch.setenv(trial.SECONDS, text) if text else monkeypatch.delenv(trial.SECONDS)
        assert trial.briefly(IMAGES).budget.seconds == seconds
    for text in ("", "0", "nan", "240", "two"):
        monkeypatch.setenv(trial.SECONDS, text)
        with pytest.raises(UserError, match=f"MENNDL_TRIAL_SECONDS: expected seconds, .* less than 240, got '{text}'"):
            trial.briefly(IMAGES)


def test_with_gpus_one_is_trained_since_this_process_has_one_gpu_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _trial(Trainings(1), Machine(8, gpus=True), monkeypatch)
    assert found.step_s == pytest.approx(2.0 / 20)


def test_a_training_that_needs_too_much_is_told_and_a_mistake_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _trial(Trainings(2, "out_of_memory"), Machine(2), monkeypatch).failure == "out_of_memory"
    with pytest.raises(UserError, match=r"a first training of the standard network failed, .*: made up"):
        _trial(Trainings(2, "error"), Machine(2), monkeypatch)
