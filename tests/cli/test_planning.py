"""A search without options follows the plan, and the same command carries on with the plan of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from menndl_dask import workflow
from menndl_dask.cli.cli import main
from menndl_dask.problem import Problem
from menndl_dask.run.settings import FILE, freeze, frozen_settings
from menndl_dask.search.options import Options
from menndl_dask.search.plan import plan
from menndl_dask.search.plan.trial import Trial
from menndl_dask.space.space import SearchSpace
from tests import stores

Job = tuple[Problem, SearchSpace, Options]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Collect what would be searched for, and freeze it in the run directory as the main job does."""
    rng = np.random.default_rng(0)
    labels = (rng.random((8, 144, 144)) < 0.02).astype("uint8")
    images = labels[..., None] + rng.normal(0, 0.3, (8, 144, 144, 1))
    stores.write(stores.dataset(images.astype("float32"), labels), tmp_path / "grains.zarr")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "run_trial", lambda *_: Trial(0.2, 5.0))
    found: list[Job] = []

    def main_job(problem: Problem, space: SearchSpace, options: Options, *, arguments: list[str], **_: Any) -> int:
        assert options.plan is not None
        extra = {"plan": options.plan.to_dict(), "arguments": ["search", "grains.zarr"]}
        options.run.mkdir(parents=True, exist_ok=True)
        freeze(options.run / FILE, frozen_settings(problem, space, options.seed, options.limits, extra))
        found.append((problem, space, options))
        return 0

    monkeypatch.setattr(workflow, "main_job", main_job)
    return found


def no_trial(*_: Any) -> Trial:
    raise AssertionError("a resumed search must not train for its plan")


def test_the_same_command_carries_on_with_the_frozen_plan(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["search", "grains.zarr", "--patches", "64"]) == 0
    monkeypatch.setattr(plan, "run_trial", no_trial)
    assert main(["search", "grains.zarr"]) == 0
    (problem, space, options), (again, same, resumed) = jobs
    assert options.run == resumed.run == Path("runs/grains")
    assert again == problem and problem.patches is not None and problem.patches.per_epoch == 64
    assert same.to_dict() == space.to_dict()
    assert (resumed.evaluations, resumed.limits) == (options.evaluations, options.limits)
    written = yaml.safe_load((options.run / FILE).read_text())["plan"]
    assert written["patches"] == {"value": 64, "because": "you gave it", "given": True}
    assert written["loss"]["value"] == "dice_crossentropy"


def test_a_value_that_differs_from_the_frozen_plan_is_refused_and_other_limits_are_not(
    jobs: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "grains.zarr"]) == 0
    assert main(["search", "grains.zarr", "--batch-size", "3"]) == 2
    assert "problem.budget.batch_size: expected 8, got 3" in capsys.readouterr().err
    assert main(["search", "grains.zarr", "--patch", "64", "64"]) == 2
    assert "run is for another search" in capsys.readouterr().err
    assert main(["search", "grains.zarr", "--hours", "2", "--memory-limit", "3"]) == 0
    assert (jobs[-1][2].hours, jobs[-1][2].evaluations) == (2.0, None)
    assert jobs[-1][2].limits.memory_bytes == 3e9


def test_the_former_default_directory_is_carried_on_where_it_holds_this_data(jobs: list[Job]) -> None:
    assert main(["search", "grains.zarr", "--run", "runs/search"]) == 0
    assert main(["search", "grains.zarr"]) == 0
    assert [options.run for *_, options in jobs] == [Path("runs/search")] * 2


def test_whole_images_are_searched_whole_and_stay_whole(jobs: list[Job]) -> None:
    assert main(["search", "grains.zarr", "--patch", "whole", "--augment", "none"]) == 0
    assert main(["search", "grains.zarr"]) == 0
    assert [problem.patches for problem, *_ in jobs] == [None, None]
    assert [problem.augmentation for problem, *_ in jobs] == [(), ()]


def test_a_check_ends_with_the_plan_that_a_search_follows(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "grains.zarr", "--epochs", "3"]) == 0
    shown = capsys.readouterr().out
    assert "plan of the search" in shown[shown.index("simple predictors") :]
    assert main(["search", "grains.zarr", "--epochs", "3"]) == 0
    options = jobs[0][2]
    assert options.plan is not None
    for planned in options.plan.values:
        if planned.name not in ("minutes", "workers", "memory_limit"):  # which follow from what is free now
            assert all(cell in shown for cell in planned.rows()[0]), planned


def test_a_number_that_cannot_be_is_refused_before_the_data_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--batch-size", "--epochs", "--patches", "--hours"):
        assert main(["check", "none.zarr", option, "0"]) == 2
        assert f"{option}: expected a number > 0, got 0" in capsys.readouterr().err
