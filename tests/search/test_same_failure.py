"""The same failure again and again: what is the site's, and what the networks'."""

from __future__ import annotations

import random
from typing import Any

import pytest

from menndl_dask.genome.individual import Evaluation
from menndl_dask.result import FAILURES, Result
from menndl_dask.search.same_failure import SameFailure

INDIVIDUAL: Any = None
HONEST = ("infeasible", "no_learning", "pruned", "diverged", "out_of_memory", "timed_out")


def failed(count: int, kind: str = "error", message: str = "No module named 'mine'") -> list[Evaluation]:
    return [(INDIVIDUAL, Result.failed(kind, message, worker=f"tcp://{n % 2}")) for n in range(count)]


def test_twenty_equal_errors_in_a_row_are_the_sites() -> None:
    same = SameFailure()
    assert same.sift(failed(19)) == []
    assert not same.is_everywhere(slots=2)
    same.sift(failed(1))
    assert same.is_everywhere(slots=2)
    assert not same.is_everywhere(slots=21)  # each worker must have had its turn
    assert same.workers == {"tcp://0", "tcp://1"}
    assert same.describe() == "20 evaluations in a row failed alike: error: No module named 'mine'"


def test_messages_that_differ_in_numbers_and_names_are_equal() -> None:
    same = SameFailure()
    for n in range(20):
        same.sift(failed(1, message=f"OSError: [Errno 28] No space left on device: '/scratch/{n}/x' at 0x{n:x}"))
    assert same.is_everywhere(slots=2)


@pytest.mark.parametrize("kind", HONEST)
def test_failures_that_say_something_about_a_network_are_never_the_sites(kind: str) -> None:
    same = SameFailure()
    results = failed(500, kind, "made up")
    assert same.sift(results) == results
    assert not same.is_everywhere(slots=2)


def test_every_kind_of_failure_is_either_honest_or_suspicious() -> None:
    assert set(FAILURES) == {*HONEST, "error", "killed", "worker_lost"}
    same = SameFailure()
    killed = failed(100, "killed", "the process was ended by SIGKILL, as by a system that runs out of memory")
    assert same.sift(killed) == killed
    assert same.sift(failed(20, "killed", "the process was ended by SIGILL")) == []


def test_any_other_result_in_between_releases_what_was_held_in_order() -> None:
    same = SameFailure()
    held, success, other = failed(7), [(INDIVIDUAL, Result(0.5))], failed(1, message="another mistake")
    assert same.sift(held) == []
    assert same.sift([*success, *other]) == [*held, *success]
    assert same.held == other
    assert same.release() == other
    assert same.held == []


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_user_whose_own_function_raises_for_many_networks_is_not_stopped(share: float) -> None:
    rng = random.Random(1)
    same = SameFailure()
    for _ in range(60):  # so often that it is known
        same.sift([(INDIVIDUAL, Result(0.5))] if rng.random() > share else failed(1))
    for _ in range(20_000):
        same.sift([(INDIVIDUAL, Result(0.5))] if rng.random() > share else failed(1))
        assert not same.is_everywhere(slots=4)


def test_after_many_successes_the_site_is_still_suspected() -> None:
    same = SameFailure()
    for _ in range(5000):
        same.recall(Result(0.5))
    same.sift(failed(20))
    assert same.is_everywhere(slots=8)
