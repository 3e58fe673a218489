"""Objectives and constraints: what a search compares."""

from __future__ import annotations

import math

import pytest

from menndl_dask.errors import UserError
from menndl_dask.objective import Limit, Objectives, measured
from menndl_dask.result import Result

RESULT = Result(0.8, costs={"latency_ms": 3.0, "parameters": 1000.0}, metrics={"loss": 0.4, "odd": math.inf})


def test_fitness_is_maximised_and_every_other_objective_minimised() -> None:
    assert Objectives.of(["fitness", "latency_ms", "loss"]).values(RESULT) == (0.8, -3.0, -0.4)


def test_what_failed_or_lacks_a_value_has_none() -> None:
    objectives = Objectives.of(["fitness", "latency_ms"])
    assert objectives.values(Result.failed("diverged", costs={"latency_ms": 1.0})) is None
    assert objectives.values(Result(0.5)) is None
    assert measured(RESULT, "odd") is None
    assert measured(RESULT, "parameters") == 1000.0


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("latency_ms <= 2", 0.5), ("latency_ms<=3", 0.0), ("fitness >= 0.9", 0.1 / 0.9), ("fitness >= 0.5", 0.0),
        ("parameters <= 1e3", 0.0), ("memory_bytes <= 5", 1.0), ("loss <= -0.4", 2.0),
    ],
)  # fmt: skip
def test_a_constraint_says_by_what_share_it_is_broken(text: str, violation: float) -> None:
    assert Limit.parse(text).violation(RESULT) == pytest.approx(violation)


def test_violations_add_up() -> None:
    objectives = Objectives.of(["fitness"], ["latency_ms <= 2", "memory_bytes <= 5"])
    assert objectives.violation(RESULT) == 1.5
    assert Objectives().violation(RESULT) == 0


@pytest.mark.parametrize("text", ["latency_ms < 2", "latency_ms <= fast", "<= 2", "latency_ms <= 1.2.3", ""])
def test_a_constraint_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected NAME <= NUMBER or NAME >= NUMBER"):
        Limit.parse(text)


def test_those_that_keep_the_constraints_are_kept_or_all() -> None:
    limits = Objectives.of(["fitness"], ["latency_ms<=2"])
    fast = Result(0.1, costs={"latency_ms": 1.0})
    assert limits.kept([RESULT, fast], lambda each: each) == [fast]
    assert limits.kept([RESULT], lambda each: each) == [RESULT]


@pytest.mark.parametrize("names", [[], ["fitness", "fitness"]])
def test_objectives_are_one_or_more_different_ones(names: list[str]) -> None:
    with pytest.raises(UserError, match="expected one or more different names"):
        Objectives.of(names)


def test_a_name_that_is_nearly_one_of_a_cost_is_refused() -> None:
    with pytest.raises(UserError, match="objectives: 'latency' is not measured; did you mean 'latency_ms'"):
        Objectives.of(["fitness", "latency"]).check_names()
    with pytest.raises(UserError, match="constraints: 'parameter' is not measured; did you mean 'parameters'"):
        Objectives.of(["fitness"], ["parameter<=10"]).check_names()
    Objectives.of(["fitness", "energy"], ["my_cost <= 1"]).check_names()  # of an evaluation function of the user's
