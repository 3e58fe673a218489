"""One evaluation on a worker: whatever goes wrong in it is an answer, never an exception."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest
from distributed.utils import key_split, key_split_group

from menndl_dask.errors import NodeError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from menndl_dask.search import remote_evaluation
from menndl_dask.search.remote_evaluation import Declined, EvaluationRequest, evaluate_remotely
from tests import evaluations
from tests.evaluations import SPACE

COMMON = (None, Limits())


def test_the_arguments_of_a_request_are_handed_on() -> None:
    def evaluate(individual: object, problem: object, limits: Limits, *, seed: int) -> Result:
        return Result(limits.seconds, seed=seed)

    result = evaluate_remotely(EvaluationRequest(Evolution(SPACE).ask(), {"seed": 3}), evaluate, *COMMON)
    assert isinstance(result, Result)
    assert (result.fitness, result.seed) == (Limits().seconds, 3)


def test_when_an_evaluation_began_and_what_it_took_is_recorded_for_a_users_own_function_too() -> None:
    before = time.time()
    result = evaluate_remotely(EvaluationRequest(Evolution(SPACE).ask()), lambda *_: Result(0.5), *COMMON)
    assert isinstance(result, Result) and result.began is not None
    assert before - 0.001 <= result.began <= time.time() + 0.001  # in milliseconds
    assert 0 <= result.times["total"] < 60


def test_a_task_is_in_the_group_of_its_phase_and_names_what_made_its_network() -> None:
    individual = Evolution(SPACE).ask()
    assert EvaluationRequest(individual).title == "search-00000000-random"
    assert EvaluationRequest(replace(individual, origin="my own-way")).title == "search-00000000-my_own_way"
    assert EvaluationRequest(replace(individual, origin="")).title == "search-00000000"
    of_comparison = EvaluationRequest(individual, phase="comparison").title
    assert key_split(of_comparison) == key_split_group(of_comparison) == "comparison"


def test_whatever_goes_wrong_in_an_evaluation_is_a_failure() -> None:
    request = EvaluationRequest(replace(Evolution(SPACE).ask(), id=1))
    for evaluate, message in (
        (evaluations.raising, "ValueError: a mistake in the user's metric"),
        (evaluations.rubbish, "evaluate: expected a Result, got float"),
    ):
        result = evaluate_remotely(request, evaluate, *COMMON)
        assert isinstance(result, Result)
        assert (result.failure, result.message) == ("error", message)


def test_not_even_an_exit_of_the_users_code_ends_a_worker() -> None:
    def leave(*_: object) -> Result:
        sys.exit("done here")

    result = evaluate_remotely(EvaluationRequest(Evolution(SPACE).ask()), leave, *COMMON)
    assert isinstance(result, Result)
    assert (result.failure, result.message) == ("error", "SystemExit: done here")


def test_a_worker_declines_what_it_would_not_finish_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_evaluation, "is_too_late_for", lambda seconds: seconds > 1)
    individual = Evolution(SPACE).ask()
    assert evaluate_remotely(EvaluationRequest(individual, expected_s=2), evaluations.raising, *COMMON) == Declined()
    for seconds in (0, 1):
        done = evaluate_remotely(EvaluationRequest(individual, expected_s=seconds), evaluations.instant, *COMMON)
        assert isinstance(done, Result)
        assert replace(done, times={}, began=None) == evaluations.toy_result(individual)


def test_a_worker_whose_node_is_unfit_retires_and_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(remote_evaluation, "retire_now", reasons.append)

    def unfit(*_: object) -> Result:
        raise NodeError("no room on its disk")

    answer = evaluate_remotely(EvaluationRequest(Evolution(SPACE).ask()), unfit, *COMMON)
    assert isinstance(answer, Declined)
    assert answer.node_error.endswith(": no room on its disk")
    assert reasons == ["its node cannot evaluate"]
