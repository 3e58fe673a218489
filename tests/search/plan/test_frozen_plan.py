"""The plan of a run that has begun: the same command carries on with it, also of runs that had none."""

from __future__ import annotations

from dataclasses import replace

from menndl_dask.problem import Budget, Limits, Patches
from menndl_dask.run.settings import frozen_settings
from menndl_dask.search.plan.frozen_plan import frozen_values, merged
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

FORMER = problem("segmentation", ((16, 16, 1),), budget=Budget(epochs=6, batch_size=8), augmentation=("flip=x",))


def _settings(of=FORMER, **extra):
    return frozen_settings(of, SearchSpace.image(of, max_parameters=5e4), 0, Limits(60.0, 2 * 10**9), extra)


def test_a_run_without_a_plan_has_the_values_that_it_was_begun_with() -> None:
    values = {name: each.value for name, each in frozen_values(_settings()).items()}
    assert (values["epochs"], values["batch_size"], values["augment"]) == (6, 8, ("flip=x",))
    assert (values["max_parameters"], values["memory_limit"], values["time_limit"]) == (5e4, 2.0, 60.0)
    assert values["patch"] is None and values["loss"] is None
    assert "evaluations" not in values


def test_a_plan_keeps_its_reasons_and_its_number_of_networks() -> None:
    patches = replace(FORMER, patches=Patches((16, 16), per_epoch=80))
    plan = {
        "epochs": {"value": 6.0, "because": "500 steps", "given": False},
        "evaluations": {"value": 40, "because": "an hour", "given": True},
    }
    values = frozen_values(_settings(patches, plan=plan))
    assert values["epochs"].reason == "500 steps"
    assert (values["evaluations"].value, values["evaluations"].given) == (40, True)
    assert (values["patch"].value, values["patches"].value) == ((16, 16), 80)


def test_another_unit_or_another_end_takes_the_place_of_the_former_one() -> None:
    plan = {"evaluations": {"value": 40, "because": "an hour", "given": False}}
    values = merged(frozen_values(_settings(plan=plan)), {"hours": 2.0, "steps": 100})
    assert "evaluations" not in values and "epochs" not in values
    assert (values["hours"].value, values["steps"].value) == (2.0, 100)
