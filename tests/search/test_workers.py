"""Which workers are there, in words."""

from __future__ import annotations

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
