"""The plan: what the user gives is kept, the rest follows from data, machine and the times of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from menndl_dask.data.data import open_problem
from menndl_dask.genome.cost import cost_of
from menndl_dask.problem import Problem
from menndl_dask.search.plan import limit_rules, plan
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.plan.plan import Plan, plan_search
from menndl_dask.search.plan.trial import Trial
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests import stores

TWO = Machine(2, 1, 4e9, may_change_workers=True)


@pytest.fixture
def images(tmp_path: Path) -> Problem:
    return open_problem(stores.write(stores.classification(120), tmp_path / "data.zarr"))


@pytest.fixture
def pixels(tmp_path: Path) -> Problem:
    return open_problem(stores.write(stores.segmentation(60), tmp_path / "pixels.zarr"))


def _planned(problem: Problem, *trials: Trial, monkeypatch: pytest.MonkeyPatch, **given: Any) -> tuple[Plan, list[int]]:
    """Return a plan where the trials measure this, one after the other, and the batch of each."""
    batches: list[int] = []

    def trial(tried: Problem, *_: Any) -> Trial:
        batches.append(tried.budget.batch_size)
        return trials[min(len(batches), len(trials)) - 1]

    monkeypatch.setattr(plan, "run_trial", trial)
    return plan_search(problem, given, TWO), batches


def test_every_value_has_a_reason_and_the_problem_gets_what_is_planned(
    images: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = _planned(images, Trial(0.01, 5.0, 1e9, 0.8e9), monkeypatch=monkeypatch)
    assert all(each.reason for each in found.values)
    assert not any(each.given for each in found.values)
    budget = found.problem.budget
    assert (budget.batch_size, budget.epochs) == (found.value("batch_size"), found.value("epochs"))
    assert found.problem.loss == "weighted_crossentropy"
    assert found.problem.augmentation == found.value("augment")
    assert 800 <= budget.epochs * (84 / budget.batch_size) <= 1200
    assert found.value("evaluations") == 200
    text = "\n".join(map(str, found.parts()))
    assert "steps of 10 ms" in text
    assert "200 evaluations on 2 workers, about" in found.text()


def test_what_the_user_gives_is_kept_and_the_rest_follows(images: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"steps": 50, "batch_size": 16, "hours": 0.5, "max_parameters": 5e4, "memory_limit": 2.0, "augment": ()}
    found, batches = _planned(images, Trial(2.0, 5.0), monkeypatch=monkeypatch, **given)
    assert {each.name for each in found.values if each.given} == set(given)
    assert batches == [16]
    assert found.problem.budget.epochs is None
    assert (found.problem.budget.steps, found.problem.budget.batch_size) == (50, 16)
    assert found.value("evaluations") is None
    assert found.limits.memory_bytes == 2e9
    assert found.space["max_parameters"] == 5e4
    assert found.problem.augmentation == ()
    assert found.value("minutes") > 30


def test_a_slow_step_makes_the_batch_smaller_and_is_measured_again(
    pixels: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = Trial(1.5, 5.0), Trial(0.8, 5.0)
    found, batches = _planned(pixels, slow, fast, monkeypatch=monkeypatch)
    assert batches[0] > batches[1] >= 2
    planned = next(each for each in found.values if each.name == "batch_size")
    assert planned.reason == f"smaller, since a step took 1.5 s with a batch of {batches[0]}"


def test_a_standard_network_that_needs_too_much_memory_gets_a_smaller_batch(
    pixels: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, batches = _planned(pixels, Trial(failure="out_of_memory"), Trial(0.1, 5.0), monkeypatch=monkeypatch)
    assert batches[0] == 2 * batches[1]
    reasons = [each.reason for each in found.values if each.name == "batch_size"]
    assert reasons == ["smaller, since the standard network was out_of_memory"]


def test_fewer_workers_are_planned_where_memory_is_short(images: Problem) -> None:
    small = Machine(4, 1, 0.5e9, may_change_workers=True)
    found = plan_search(images, {}, small, trial=False)
    assert found.value("workers") < 4
    assert found.value("memory_limit") * 1e9 >= limit_rules.FRAMEWORK_BYTES


def test_without_a_trial_no_time_is_told(images: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "run_trial", None)
    found = plan_search(images, {}, TWO, trial=False)
    assert found.value("minutes") is None
    assert "about" not in found.text()
    assert plan_search(images, {}, Machine(8, 1, is_this=False)).value("workers") == 8


def test_no_network_of_the_planned_space_is_estimated_to_need_more_memory_than_it_may_have(pixels: Problem) -> None:
    found = plan_search(pixels, {}, TWO, trial=False)
    space = SearchSpace.image(found.problem, **found.space)
    rng = np.random.default_rng(0)
    batch = found.problem.budget.batch_size
    for genome in [standard_network(pixels)[1], *(space.sample(rng) for _ in range(30))]:
        step = cost_of(genome, found.problem).memory_bytes(batch)
        assert limit_rules.needed_bytes(step) <= found.limits.memory_bytes
    assert space.contains(standard_network(pixels)[1])


def _large(folder: Path) -> Problem:
    rng = np.random.default_rng(0)
    labels = (rng.random((6, 160, 160)) < 0.02).astype("uint8")
    images = labels[..., None] + rng.normal(0, 0.3, (6, 160, 160, 1))
    return open_problem(stores.write(stores.dataset(images.astype("float32"), labels), folder / "large.zarr"))


def test_a_patch_becomes_smaller_before_the_batch_is_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _large(tmp_path)
    assert problem.patches is not None and problem.patches.size == (128, 128)
    found, batches = _planned(problem, Trial(4.0, 5.0), Trial(0.7, 5.0), monkeypatch=monkeypatch)
    assert batches == [8, 4]
    side = found.value("patch")[0]
    assert found.value("patch") == (side, side) and side < 128 and side % 8 == 0
    assert found.problem.patches is not None
    assert found.problem.facts.input_shapes == ((side, side, 1),)
    assert found.problem.patches.gap == (side // 2, side // 2)
    reason = next(each.reason for each in found.values if each.name == "patch")
    assert reason == "images of 160 × 160 pixels; smaller, since a step took 4 s with a batch of 8 patches of 128×128"
    assert found.problem.patches.per_epoch == found.value("patches") == 4 * 20


def test_a_given_patch_is_kept_however_slow_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _large(tmp_path)
    given = {"patch": "128", "patches": 40}
    found, batches = _planned(problem, Trial(9.0, 5.0), monkeypatch=monkeypatch, **given)
    assert (found.value("patch"), min(batches)) == ((128, 128), 2)
    assert found.problem.patches is not None and found.problem.patches.per_epoch == 40
    assert "fewer steps would teach too little" in "\n".join(each.reason for each in found.values)


def test_values_that_spoil_a_channel_are_said_to_be_clipped(tmp_path: Path) -> None:
    data = stores.with_split(stores.segmentation(60), "train", "train", "validation", "test")
    data.image.values[0, 4, 5, 0] = 30_000
    path = stores.write(data, tmp_path / "spikes.zarr")
    found = plan_search(open_problem(path), {}, TWO, trial=False)
    assert found.value("normalisation") == found.problem.normalisation == "clip"
    kept = plan_search(open_problem(path, normalisation="channel"), {"normalisation": "channel"}, TWO, trial=False)
    assert kept.problem.normalisation == "channel"
    assert next(each.given for each in kept.values if each.name == "normalisation")


def test_a_batch_is_halved_for_more_steps_in_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _large(tmp_path)
    found, batches = _planned(problem, Trial(0.6, 5.0), Trial(0.3, 5.0), monkeypatch=monkeypatch)
    assert batches == [8, 4]
    assert found.value("patch") == (128, 128)
    assert found.value("patches") * found.value("epochs") == 300 * 4
    given, batches = _planned(problem, Trial(0.6, 5.0), monkeypatch=monkeypatch, batch_size=8)
    assert batches == [8]
    assert given.value("patch") == (128, 128)
