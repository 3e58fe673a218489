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


def lose(watch: JobWatch, start: float, count: int = 1, worked: float = 10) -> None:
    """Submit so many jobs at once, which lose their workers after so many seconds."""
    names = [f"menndl-{start:g}-{number}" for number in range(count)]
    numbers = {name: name for name in names}
    watch.update(start, dict.fromkeys(names, 1), numbers, None)
    watch.update(start + worked, {}, numbers, None)
    assert sorted(watch.update(start + worked + 1, {}, numbers, None)) == names


def test_three_jobs_that_end_at_once_are_a_crash_loop_without_hope_if_none_has_ever_worked() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    for number in range(3):
        assert not watch.in_crash_loop and watch.pause_s == 0
        lose(watch, 100 * number)
    assert watch.in_crash_loop and watch.has_failed and watch.pause_s == 60


def test_jobs_that_end_together_count_once() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    lose(watch, 0, count=8)
    assert watch.short_jobs == 1 and not watch.in_crash_loop


def test_where_jobs_have_worked_others_are_tried_for_half_an_hour_with_longer_and_longer_pauses() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    watch.update(0, {"menndl-1": 1}, {"menndl-1": "1"}, None)
    watch.update(3600, {"menndl-1": 1}, {"menndl-1": "1"}, None)
    now, pauses = 3600.0, []
    while not watch.has_failed:
        lose(watch, now + 1 + watch.pause_s)
        pauses.append(watch.pause_s)
        now += 1 + watch.pause_s + 11
    assert pauses == [0, 0, 60, 120, 240, 480, 960, 1800]
    lose(watch, now + 1)
    assert watch.pause_s == 1800


def test_a_job_that_works_for_long_ends_the_suspicion_if_it_was_submitted_after_the_others_ended() -> None:
    watch = JobWatch(patience_s=1, shortest_s=60)
    old, new = {"menndl-1": "1"}, {"menndl-2": "2"}
    watch.update(0, {"menndl-1": 1}, old, None)
    for now in (10, 20, 30):
        watch.record_refusal(now)
    watch.update(3600, {"menndl-1": 1}, old, None)
    assert watch.in_crash_loop
    watch.update(3601, {"menndl-1": 1, "menndl-2": 1}, old | new, None)
    watch.update(3630, {"menndl-1": 1, "menndl-2": 1}, old | new, None)
    assert watch.in_crash_loop
    watch.update(3661, {"menndl-1": 1, "menndl-2": 1}, old | new, None)
    assert not watch.in_crash_loop and watch.short_jobs == 0
