"""Events of searches that are small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest

from menndl_dask.performance.simulation.events import Events


@dataclass
class Fixed:
    """A driver whose evaluations take these seconds, in turn; it takes time for an ask and for a result."""

    seconds: Sequence[float]
    ask_s: float = 0.0
    tell_s: float = 0.0
    most: int | None = None
    asks: list[tuple[int, float]] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)

    def ask(self, number: int, now: float) -> tuple[list[tuple[float, int]], float]:
        self.asks.append((number, now))
        taken = [next(self.numbers) for _ in range(number)]
        jobs = [(self.seconds[n % len(self.seconds)], n) for n in taken if self.most is None or n < self.most]
        return jobs, self.ask_s

    def tell(self, jobs: Sequence[int], now: float) -> float:
        self.told += jobs
        return self.tell_s * len(jobs)


def test_a_free_worker_takes_the_next_evaluation_at_once() -> None:
    trace = Events(Fixed([3.0, 1.0, 1.0, 1.0]), 2, 4, has_spare=False).run()
    assert (trace.span, trace.busy_s, trace.evaluations) == (3.0, 6.0, 4)
    assert trace.overall == 1.0
    assert (trace.all_busy_at, trace.last_begun, trace.utilisation) == (0.0, 2.0, 1.0)


def test_workers_wait_for_a_slow_driver() -> None:
    driver = Fixed([1.0], ask_s=1.0)
    trace = Events(driver, 1, 3, has_spare=False).run()
    assert trace.span == 6.0
    assert trace.overall == 0.5
    assert trace.driver_s == 3.0
    assert driver.told == [0, 1, 2]


def test_spare_evaluations_keep_a_worker_busy_while_the_driver_thinks() -> None:
    # the first three asks come before Dask keeps tasks back, so that there is no spare one yet
    with_spare, without = (
        Events(Fixed([1.0], ask_s=0.5), 1, 40, has_spare=has_spare).run() for has_spare in (True, False)
    )
    assert without.overall == pytest.approx(1 / 1.5, abs=0.01)
    assert with_spare.overall > 0.93


def test_results_that_arrive_together_are_told_together_and_asked_for_in_batches() -> None:
    driver = Fixed([2.0])
    Events(driver, 20, 40, batch=16, has_spare=False).run()
    assert [number for number, _ in driver.asks] == [16, 4, 16, 4]
    assert sorted(driver.told) == list(range(40))


def test_workers_that_join_later_begin_later() -> None:
    trace = Events(Fixed([10.0]), 4, 8, joins_per_s=2.0, has_spare=False).run()
    assert trace.all_busy_at == 1.5
    assert trace.span == 21.5


def test_the_way_to_a_worker_and_back_takes_time() -> None:
    trace = Events(Fixed([1.0]), 1, 2, hop_s=0.25, has_spare=False).run()
    assert trace.span == 0.25 + 1 + 0.25 + 0.25 + 1


def test_a_driver_that_has_no_more_networks_ends_the_search() -> None:
    trace = Events(Fixed([1.0], most=3), 2, 100).run()
    assert (trace.evaluations, trace.span) == (3, 2.0)
    assert Events(Fixed([1.0], most=0), 2, 100).run().overall == 1.0
