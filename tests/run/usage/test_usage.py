"""The use of a run's workers: made-up sessions whose figures are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.run.usage.session import Evaluated, Loss, Presence, Session
from menndl_dask.run.usage.usage import Usage, summary

A, B = "tcp://10.0.0.1:4001", "tcp://10.0.0.2:4001"


def evaluated(number: int, begin: float, end: float, worker: str = A, **values: object) -> Evaluated:
    phases = {"start": 1.0, "train": end - begin - 1.5}
    known = {"completed": end + 0.25, "began": begin, "seconds": end - begin, "worker": worker, "flops": 1e9, **values}
    return Evaluated(number, phases=phases, **known)  # type: ignore[arg-type]


def session(*each: Evaluated, asked: float = 0.0, **values: object) -> Session:
    presence = [Presence(asked - 0.1, 2, 2, 2)]
    return Session(asked=asked, evaluated=list(each), presence=presence, **values)  # type: ignore[arg-type]


def two_workers() -> Usage:
    """Return two workers: one with two evaluations and a gap of 2 s, one that began late and ended early."""
    return Usage((session(evaluated(0, 1, 5), evaluated(1, 7, 10), evaluated(2, 3, 9, B)),))


def test_the_time_of_all_workers_is_divided_without_a_rest() -> None:
    usage = two_workers()
    assert (usage.wall_s, usage.slots.total, usage.nodes.total) == (10.25, 20.5, 20.5)
    parts = usage.parts
    assert parts["train"] == 2.5 + 1.5 + 4.5
    assert parts["start"] == 3.0
    assert parts["other"] == 1.5  # half a second of each evaluation
    assert parts["wait"] == 2.0
    assert parts["idle"] == pytest.approx(1.0 + 0.25 + 3.0 + 1.25)
    assert sum(parts.values()) == pytest.approx(20.5)
    assert usage.utilisation == pytest.approx(13 / 20.5)
    assert usage.tail == pytest.approx((0.25 + 1.25) / 20.5)


def test_flops_are_summed_and_divided_by_the_wall_time() -> None:
    usage = two_workers()
    assert usage.spent.flops == 3e9
    assert usage.sustained == pytest.approx(3e9 / 10.25)
    assert usage.per_worker == pytest.approx(3e9 / 20.5)
    assert {worker: spent.flops for worker, spent in usage.by_worker.items()} == {A: 2e9, B: 1e9}
    # of the windows of a tenth of the run, one where both workers train: 0.25 and 1/3 or 1/6 GFLOP in a second
    assert usage.peak == pytest.approx(1e9 / 3 + 1e9 / 6)
    assert usage.per_hour == pytest.approx(3 * 3600 / 10.25)
    assert usage.generations == pytest.approx(1.5)


def test_the_night_between_two_starts_is_no_time_of_the_run() -> None:
    (first,) = two_workers().sessions
    second = session(evaluated(3, 100_001, 100_005), asked=100_000.0)
    usage = Usage((first, second))
    assert usage.wall_s == pytest.approx(10.25 + 5.25)
    assert usage.slots.total == pytest.approx(2 * usage.wall_s)
    assert usage.workers == pytest.approx(2)
    assert sum(usage.parts.values()) == pytest.approx(usage.slots.total)
    assert usage.sustained == pytest.approx(4e9 / 15.5)


def test_islands_that_search_at_the_same_time_share_the_wall_time_and_add_their_workers() -> None:
    (first,) = two_workers().sessions
    usage = Usage((replace(first, island=0), replace(first, island=1)))
    assert (usage.wall_s, usage.slots.total, usage.workers, usage.most_workers) == (10.25, 41.0, 4.0, 4)


def test_workers_that_come_later_or_go_are_not_idle_while_they_are_not_there() -> None:
    late = session(evaluated(0, 0, 10), evaluated(1, 6, 10, B))
    late.presence = [Presence(0.0, 1, 1, 1), Presence(6.0, 2, 2, 2)]
    usage = Usage((late,))
    assert usage.slots.total == pytest.approx(10.25 + 4.25)
    assert usage.parts["idle"] == pytest.approx(0.5)
    late.presence.append(Presence(10.0, 0, 0, 0))
    assert Usage((late,)).parts["idle"] == pytest.approx(0.0)


def test_a_worker_of_several_gpus_has_several_places() -> None:
    shared = session(evaluated(0, 0, 10), evaluated(1, 0, 4), evaluated(2, 5, 10))
    shared.presence = []
    usage = Usage((shared,))
    assert usage.most_workers == 2
    assert usage.parts["wait"] == pytest.approx(1.0)


def test_a_run_of_an_earlier_version_does_not_tell_waiting_and_idling_apart() -> None:
    old = [replace(one, began=None) for one in two_workers().evaluated]
    usage = Usage((Session(asked=0.0, evaluated=old),))
    assert not usage.knows_begins and not usage.knows_presence
    assert "wait" not in usage.parts and "idle" not in usage.parts
    assert usage.parts["wait or idle"] == pytest.approx(7.5)
    assert usage.tail is None


def test_what_failures_early_stops_and_losses_cost_is_told_apart() -> None:
    each = [
        evaluated(0, 0, 4, failure="pruned", share=0.3), evaluated(1, 4, 6, failure="no_learning", share=0.4),
        evaluated(2, 6, 16, failure="timed_out", flops=None), evaluated(3, 16, 20),
    ]  # fmt: skip
    usage = Usage((session(*each, losses=[Loss(3.0, 2, 7.5), Loss(4.0, 1, None)]),))
    assert (usage.early.count, usage.early.seconds, usage.early.flops) == (2, 6.0, 2e9)
    assert usage.early_share == pytest.approx(0.35)
    assert (usage.failed.count, usage.failed.seconds, usage.failed.flops) == (1, 10.0, 0.0)
    assert list(usage.by_failure) == ["timed_out", "pruned", "no_learning"]
    assert (usage.losses, usage.lost_s, usage.without_flops) == (2, 7.5, 1)


def test_what_is_not_known_is_left_out_of_the_summary() -> None:
    figures = summary(two_workers())
    assert "gpu_joules" not in figures and "wait_or_idle_s" not in figures
    assert figures["sustained_flops_per_s"] == pytest.approx(3e9 / 10.25)
    assert all(type(value) is float for value in figures.values())
