"""Tests of `menndl_dask.cluster.batch.job_monitor`: which jobs are lost, and when no other is submitted."""

from __future__ import annotations

from menndl_dask.cluster.batch.job_monitor import JobWatch

NUMBERS = {"menndl-1": "100", "menndl-2": "101"}


def test_a_job_whose_workers_have_gone_is_lost_after_a_while() -> None:
    watch = JobWatch(patience_s=30)
    assert watch.update(0, {"menndl-1": 4, "menndl-2": 4}, NUMBERS, None) == []
    assert watch.update(100, {"menndl-2": 4}, NUMBERS, None) == []
    assert watch.has_suspects
    assert watch.update(129, {"menndl-2": 4}, NUMBERS, None) == []
    assert watch.update(130, {"menndl-2": 4}, NUMBERS, None) == ["menndl-1"]


def test_a_job_whose_workers_start_again_is_kept() -> None:
    watch = JobWatch(patience_s=30)
    watch.update(0, {"menndl-1": 4, "menndl-2": 4}, NUMBERS, None)
    watch.update(100, {"menndl-2": 4}, NUMBERS, None)
    watch.update(120, {"menndl-1": 1, "menndl-2": 4}, NUMBERS, None)
    assert not watch.has_suspects
    assert watch.update(140, {"menndl-1": 4, "menndl-2": 4}, NUMBERS, None) == []


def test_a_job_with_some_of_its_workers_is_kept_for_ever() -> None:
    watch = JobWatch(patience_s=30)
    assert all(watch.update(now, {"menndl-1": 1, "menndl-2": 1}, NUMBERS, {"100"}) == [] for now in range(0, 1000, 50))


def test_a_waiting_job_is_lost_once_two_looks_at_the_queue_have_not_found_it() -> None:
    watch = JobWatch()
    assert watch.update(0, {}, NUMBERS, {"100", "101"}) == []
    assert watch.update(30, {}, NUMBERS, {"101"}) == []
    assert watch.update(31, {}, NUMBERS, None) == []
    assert watch.update(60, {}, NUMBERS, {"101"}) == ["menndl-1"]


def test_a_job_that_waits_for_days_is_kept() -> None:
    watch = JobWatch()
    assert all(watch.update(now, {}, NUMBERS, {"100", "101"}) == [] for now in range(0, 10**6, 10**5))


def test_three_jobs_that_end_at_once_are_a_crash_loop() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    for number in range(3):
        assert not watch.in_crash_loop
        name = f"menndl-{number}"
        start = 100 * number
        watch.update(start, {name: 1}, {name: str(number)}, None)
        watch.update(start + 10, {}, {name: str(number)}, None)
        assert watch.update(start + 11, {}, {name: str(number)}, None) == [name]
    assert watch.in_crash_loop


def test_a_job_that_has_worked_for_long_ends_the_suspicion() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    watch.record_refusal()
    watch.record_refusal()
    watch.update(0, {"menndl-1": 1}, {"menndl-1": "1"}, None)
    watch.update(3600, {}, {"menndl-1": "1"}, None)
    watch.update(3601, {}, {"menndl-1": "1"}, None)
    watch.record_refusal()
    assert not watch.in_crash_loop
