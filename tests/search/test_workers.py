"""Which workers are there, in words."""

from __future__ import annotations

import pytest

from menndl_dask.errors import RunError
from menndl_dask.search.workers import Workers


def workers(*numbers: int, threads: int = 1) -> dict[str, int]:
    return {f"tcp://10.0.0.1:{number}": threads for number in numbers}


def test_arrivals_are_told_together_and_losses_at_once() -> None:
    workforce = Workers()
    assert workforce.update(workers(1, 2), 0.0) == "2 workers joined; 2 in all"
    assert workforce.update(workers(1, 2, 3), 1.0) is None
    assert workforce.update(workers(1, 2, 3, 4), 2.0) is None
    assert workforce.update(workers(2, 3, 4), 3.0) == "2 workers joined and 1 worker left; 3 in all"
    assert workforce.update(workers(2, 3, 4), 4.0) is None
    assert workforce.update(workers(2, 3, 4, 5), 5.0) is None
    assert workforce.update(workers(2, 3, 4, 5), 20.0) == "1 worker joined; 4 in all"


def test_a_worker_that_another_replaces_is_told() -> None:
    workforce = Workers()
    workforce.update(workers(1, 2), 0.0)
    assert workforce.update(workers(1, 3), 1.0) == "1 worker joined and 1 worker left; 2 in all"


def test_each_thread_of_a_worker_gets_an_evaluation() -> None:
    workforce = Workers()
    workforce.update(workers(1, 2, threads=8), 0.0)
    assert len(workforce) == 2
    assert workforce.slots == 16
    assert workforce.target_in_flight(submitted=1000) == 20


def test_that_no_worker_is_there_is_said_after_one_two_and_four_minutes() -> None:
    workers = Workers(hint="start some")
    said = {second: message for second in range(600) if (message := workers.update({}, float(second)))}
    assert said == {n: f"no worker has been there for {n // 60} min; start some" for n in (60, 120, 240, 480)}
    assert workers.none_since == 0.0
    assert workers.update({"a": 1}, 600.0) == "1 worker joined; 1 in all"
    assert workers.none_since is None
    assert workers.update({}, 610.0) == "1 worker left; 0 in all"
    assert workers.update({}, 669.0) is None
    assert workers.update({}, 670.0) == "no worker has been there for 1 min; start some"


def test_a_search_waits_for_workers_as_long_as_it_is_told() -> None:
    workers = Workers(90.0, "start some")
    assert workers.update({}, 0.0) is None
    workers.update({}, 89.0)
    with pytest.raises(RunError, match="no worker has been there for 1 min 31 s; start some"):
        workers.update({}, 91.0)


def test_workers_stay_while_the_scheduler_is_silent_but_not_for_ever() -> None:
    workers = Workers()
    workers.update({"a": 2}, 0.0)
    assert workers.update(None, 15.0) is None
    assert len(workers) == 1
    assert workers.update(None, 61.0) == "the scheduler has not answered for 1 min 1 s"
    assert workers.update({"a": 2}, 62.0) is None
    assert workers.update(None, 900.0) == "the scheduler has not answered for 13 min 58 s"
    with pytest.raises(RunError, match="the scheduler has not answered for 15 min"):
        workers.update(None, 62.0 + 901.0)
