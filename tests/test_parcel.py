"""What travels to a worker and back: bytes that only the two ends open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask import parcel
from menndl_dask.evolution import Evolution
from menndl_dask.genome import Genome
from menndl_dask.parcel import NotBegun, Task, delivered, evaluated, opened, packed_common, packed_task
from menndl_dask.problem import Limits
from tests import evaluations
from tests.evaluations import SPACE


def test_a_task_is_the_same_at_the_other_end_and_no_larger_for_what_its_genome_knows_of_itself() -> None:
    individual = Evolution(SPACE).ask()
    individual = replace(individual, genome=Genome(individual.genome.genes))
    packed = packed_task(Task(individual, {"seed": 3}, 2.0))
    assert individual.genome.key  # which the genome keeps
    assert packed_task(Task(individual, {"seed": 3}, 2.0)) == packed
    assert opened(packed) == (individual, {"seed": 3}, 2.0)


def test_whatever_goes_wrong_in_an_evaluation_is_a_failure() -> None:
    task = packed_task(Task(replace(Evolution(SPACE).ask(), id=1)))
    for evaluate, message in (
        (evaluations.raising, "ValueError: a mistake in the user's metric"),
        (evaluations.rubbish, "evaluate: expected a Result, got float"),
    ):
        outcome = evaluated(task, packed_common(evaluate, (None, Limits())))
        assert (outcome.failure, outcome.message) == ("error", message)
    assert evaluated(b"no parcel", b"").failure == "error"


def test_what_would_not_be_finished_in_time_is_not_opened_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "is_too_late_for", lambda seconds: seconds > 1)
    common = packed_common(evaluations.instant, (None, Limits()))
    individual = Evolution(SPACE).ask()
    assert evaluated(packed_task(Task(individual, seconds=2)), common) == NotBegun()
    assert evaluated(packed_task(Task(individual, seconds=1)), common).succeeded


def test_a_bundle_is_evaluated_in_its_order_and_what_is_not_begun_counts_for_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parcel, "is_too_late_for", lambda seconds: seconds > 1)
    common = packed_common(evaluations.instant, (None, Limits()))
    evolution = Evolution(SPACE)
    individuals = [evolution.ask() for _ in range(3)]
    tasks = [packed_task(Task(one, seconds=seconds)) for one, seconds in zip(individuals, (0, 2, 1), strict=True)]
    delivery = delivered(tasks, common)
    first, second, third = delivery.outcomes
    assert (first, second, third) == (
        evaluations.toy_result(individuals[0]), NotBegun(), evaluations.toy_result(individuals[2])
    )  # fmt: skip
    assert delivery.begun == 2
    monkeypatch.setattr(parcel, "_TOGETHER_S", 0.0)
    late = delivered(tasks, common)
    assert late.outcomes == (first, NotBegun(behind=True), NotBegun(behind=True))
    assert late.begun == 1
    assert late.seconds > 0
