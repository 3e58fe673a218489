"""A run as a study of Optuna: what its dashboard reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.errors import UserError
from menndl_dask.tracking.optuna_study import export_study
from tests import stories
from tests.runs import finished, made_up, recorder

optuna = pytest.importorskip("optuna")


def test_each_evaluation_is_a_trial_with_its_state_its_curve_and_its_genome(tmp_path: Path) -> None:
    evaluations = made_up(12)
    run = finished(tmp_path / "stem", evaluations)
    assert export_study(run, tmp_path / "study.db") == 12
    study = optuna.load_study(study_name="stem", storage=f"sqlite:///{tmp_path}/study.db")
    best, result = run.best()
    assert study.best_value == result.fitness
    assert study.best_trial.user_attrs["network"] == best.id
    assert json.loads(study.best_trial.user_attrs["genome"]) == best.genome.to_dict()
    assert len(study.best_trial.intermediate_values) == len(result.curve)
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == sum(r.succeeded for _, r in evaluations)
    assert sum(study.best_trial.params.values()) == len(best.genome.layers)


def test_costs_are_minimised(tmp_path: Path) -> None:
    several = replace(stories.STEM, objectives=("fitness", "parameters"))
    run = finished(tmp_path / "stem", made_up(12), several)
    export_study(run, tmp_path / "study.db")
    study = optuna.load_study(study_name="stem", storage=f"sqlite:///{tmp_path}/study.db")
    assert [each.name for each in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    front = {individual.id for individual, _ in run.front()}
    assert {trial.user_attrs["network"] for trial in study.best_trials} == front


def test_a_file_that_exists_and_a_run_without_results_are_refused(tmp_path: Path) -> None:
    run = finished(tmp_path / "stem", made_up(2))
    (tmp_path / "study.db").touch()
    with pytest.raises(UserError, match="expected a new file, found an existing one"):
        export_study(run, tmp_path / "study.db")
    with recorder(tmp_path / "empty"):
        pass
    with pytest.raises(UserError, match="expected evaluations, got none yet"):
        export_study(type(run)(tmp_path / "empty"), tmp_path / "other.db")


def test_a_study_that_cannot_be_written_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(3))
    (target := tmp_path / "study.db").symlink_to(tmp_path / "nowhere" / "study.db")
    with pytest.raises(UserError, match=r"study\.db: cannot be written: OperationalError: unable to open database"):
        export_study(run, target)
    assert not target.is_symlink()
