"""The course of a training: every sample once an epoch, stops where something is to be looked at."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.course import Course
from menndl_dask.problem import Budget


def _budget(**given: Any) -> Budget:
    """Return a budget whose learning rate stops no training on the way."""
    return Budget(**given, schedule="constant")


def _stops(course: Course, step_seconds: float = 0.0) -> list[float]:
    """Run a course to its end and return the steps at which it stopped."""
    stops = []
    order = np.arange(course.samples)
    while not course.is_over:
        chosen = course.next_samples(order)
        possible = int(course.seconds_left() / step_seconds) + 1 if step_seconds else len(chosen)
        steps = min(-(-len(chosen) // 4), possible)
        course.advance(steps, steps * step_seconds)
        stops.append(course.steps)
        if course.verdict_is_due:
            course.verdict_was_given()
    return stops


@given(st.integers(1, 50), st.floats(0.1, 4), st.booleans())
def test_every_epoch_goes_through_every_sample_once(samples: int, epochs: float, verdict: bool) -> None:
    course = Course(_budget(epochs=epochs, batch_size=4, early_verdict=verdict, rungs=()), samples)
    seen: list[int] = []
    while not course.is_over:
        chosen = course.next_samples(np.arange(samples))
        assert len(chosen) > 0
        seen.extend(chosen)
        course.advance(-(-len(chosen) // 4), 1.0)
        if course.verdict_is_due:
            course.verdict_was_given()
        if course.is_epoch_end:
            assert sorted(seen) == list(range(samples))
            seen.clear()
    assert course.steps == max(1, round(epochs * -(-samples // 4)))
    assert course.epoch == pytest.approx(epochs, abs=4 / samples + 0.5 * 4 / samples + 1 / samples)


def test_the_learning_rate_falls_to_nearly_nothing_over_the_budget() -> None:
    course = Course(Budget(epochs=5, batch_size=4, rungs=()), 40)
    rates = []
    while not course.is_over:
        rates.append(course.rate)
        course.advance(-(-len(course.next_samples(np.arange(40))) // 4), 1.0)
    assert len(rates) >= 20
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.99
    assert rates[-1] < 0.01
    assert np.mean(rates) == pytest.approx(0.5, abs=0.01)


def test_an_interruption_changes_no_learning_rate() -> None:
    whole, interrupted = (Course(Budget(epochs=4, batch_size=4, rungs=()), 400) for _ in range(2))
    whole.advance(20, 1.0)
    interrupted.advance(23, 1.0)  # within the stair that begins after 20
    assert interrupted.rate == whole.rate
    assert len(interrupted.next_samples(np.arange(400))) == len(whole.next_samples(np.arange(400))) - 3 * 4


def test_a_learning_rate_follows_the_time_where_seconds_are_budgeted() -> None:
    course = Course(Budget(seconds=10, batch_size=4, rungs=()), 40)
    assert course.rate == 1.0
    course.advance(7, 5.0)
    assert course.rate == pytest.approx(0.5)


def test_a_constant_learning_rate_stays() -> None:
    course = Course(Budget(epochs=4, batch_size=4, rungs=(), schedule="constant"), 40)
    course.advance(39, 1.0)
    assert course.rate == 1.0


def test_whichever_ends_first_ends_the_training() -> None:
    budget = _budget(epochs=2, steps=7, batch_size=4, early_verdict=False, rungs=())
    assert _stops(Course(budget, 20)) == [5, 7]
    assert _stops(Course(_budget(epochs=1, steps=70, batch_size=4, early_verdict=False, rungs=()), 20)) == [5]
    assert _stops(Course(_budget(seconds=3, batch_size=4, early_verdict=False, rungs=()), 20), 0.5) == [5, 7]
    assert _stops(Course(_budget(epochs=2, flops=28e6, batch_size=4, early_verdict=False, rungs=()), 20, 1e6)) == [5, 7]


def test_networks_get_the_same_flops_in_as_many_steps_as_these_are() -> None:
    budget = _budget(flops=1e9, batch_size=4, early_verdict=False, rungs=())
    for flops in (1e5, 1e6, 3e6, 7e6, 1e8):
        course = Course(budget, 22, flops)
        _stops(course)
        assert course.samples_seen * flops == pytest.approx(1e9, abs=2 * flops)
    course = Course(budget, 22, 1e12)
    assert _stops(course) == [1]  # at least


def test_the_verdict_is_due_at_its_share_of_the_flops() -> None:
    assert _stops(Course(_budget(flops=480e6, batch_size=4, rungs=()), 160, 1e6)) == [40, 80, 120]
    course = Course(_budget(flops=480e6, batch_size=4, rungs=()), 160, 1e6)
    course.advance(40, 1.0)
    assert course.verdict_is_due


def test_the_verdict_is_due_at_the_epoch_that_is_nearest_to_its_share() -> None:
    course = Course(_budget(epochs=3, batch_size=4, rungs=()), 160)
    course.advance(40, 1.0)
    assert course.verdict_is_due
    course.verdict_was_given()
    assert not course.verdict_is_due
    assert _stops(course) == [80, 120]


def test_the_verdict_does_not_wait_for_a_first_epoch_that_is_too_long() -> None:
    assert _stops(Course(_budget(epochs=1, batch_size=4, rungs=()), 400)) == [34, 100]


def test_no_verdict_is_due_after_a_handful_of_steps() -> None:
    assert _stops(Course(_budget(epochs=2, batch_size=4, rungs=()), 20)) == [5, 10]
    course = Course(_budget(seconds=10, batch_size=4, rungs=()), 20)
    course.advance(5, 6.0)
    assert not course.verdict_is_due
    assert course.seconds_left() == pytest.approx(4.0)


def test_the_verdict_comes_in_time_where_time_is_the_budget() -> None:
    course = Course(_budget(seconds=10, batch_size=4, rungs=()), 400)
    assert course.seconds_left() == pytest.approx(3.4)
    course.advance(25, 3.5)
    assert course.verdict_is_due
    course.verdict_was_given()
    assert course.seconds_left() == pytest.approx(6.5)


def test_a_smaller_last_batch_counts_as_what_it_is() -> None:
    course = Course(_budget(epochs=2, batch_size=4, early_verdict=False, rungs=()), 10)
    course.advance(3, 1.0)
    assert (course.samples_seen, course.epoch, course.is_epoch_end) == (10, 1.0, True)
    course.advance(1, 1.0)
    assert (course.samples_seen, course.epoch) == (14, 1.4)


def test_a_training_stops_at_a_rung_or_at_the_end_of_the_epoch_that_comes_soon_after() -> None:
    budget = _budget(epochs=6, batch_size=2, early_verdict=False, rungs=(0.1, 0.33, 0.6))
    course = Course(budget, 20)
    passed = []
    while not course.is_over:
        course.advance(-(-len(course.next_samples(np.arange(20))) // 2), 1.0)
        assert course.look_is_due
        passed.append((course.steps, course.passed_rungs()))
    assert passed == [(10, (0.1,)), (20, (0.33,)), (30, ()), (36, (0.6,)), (40, ()), (50, ()), (60, ())]


def test_a_short_training_stops_at_the_rungs_themselves_and_once_for_two_verdicts() -> None:
    budget = _budget(epochs=1, batch_size=4, early_verdict=False, rungs=(0.33, 0.66))
    assert _stops(Course(budget, 400)) == [33, 66, 100]
    assert _stops(Course(replace(budget, early_verdict=True), 400)) == [33, 66, 100]
    assert _stops(Course(replace(budget, epochs=3), 400)) == [100, 200, 300]
    assert _stops(Course(replace(budget, epochs=4, early_verdict=True), 400)) == [100, 132, 200, 264, 300, 400]
    assert _stops(Course(budget, 160)) == [27, 40]


def test_an_interruption_past_a_rung_is_no_look() -> None:
    course = Course(Budget(epochs=10, batch_size=4, rungs=(0.36,), early_verdict=False), 80)
    looks = []
    while not course.is_over:  # the learning rate changes every ten steps, twice an epoch
        course.advance(-(-len(course.next_samples(np.arange(80))) // 4), 1.0)
        if course.look_is_due:
            looks.append((course.epoch, course.passed_rungs()))
    assert looks == [(epoch, (0.36,) if epoch == 4 else ()) for epoch in range(1, 11)]


def test_a_rung_comes_in_time_where_time_is_the_budget() -> None:
    course = Course(_budget(seconds=10, batch_size=4, early_verdict=False, rungs=(0.5,)), 400)
    assert course.seconds_left() == pytest.approx(5)
    course.advance(30, 5.1)
    assert course.look_is_due
    assert course.passed_rungs() == (0.5,)
    assert not course.look_is_due
    assert course.seconds_left() == pytest.approx(4.9)


@given(st.integers(0, 60), st.floats(0.2, 4))
def test_a_course_that_goes_on_elsewhere_takes_the_same_way(interruption: int, epochs: float) -> None:
    def course() -> Course:
        return Course(_budget(epochs=epochs, batch_size=4), 90)

    def way(of: Course) -> list[tuple[int, bool, tuple[float, ...]]]:
        found = []
        while not of.is_over:
            of.advance(1, 0.1)
            if of.look_is_due:
                found.append((of.steps, of.verdict_is_due, of.passed_rungs()))
                if of.verdict_is_due:
                    of.verdict_was_given()
        return found

    whole, first, second = course(), course(), course()
    looks = way(whole)
    before = []
    while first.steps < interruption and not first.is_over:
        first.advance(1, 0.1)
        if first.look_is_due:
            before.append((first.steps, first.verdict_is_due, first.passed_rungs()))
            if first.verdict_is_due:
                first.verdict_was_given()
    second.resume(first.state())
    assert before + way(second) == looks


def test_of_a_thousand_epochs_only_some_are_looked_at() -> None:
    course = Course(Budget(flops=1e9, batch_size=4, early_verdict=False, rungs=()), 4, 1e9 / 4000)
    looks = []
    while not course.is_over:
        course.advance(1, 0.001)
        if course.look_is_due:
            looks.append(course.epochs)
    assert looks[:20] == list(range(1, 21))
    assert looks[-1] == 1000
    assert 80 < len(looks) < 120
    assert max(after / before for before, after in pairwise(looks[20:])) < 1.11


def _looks(epochs: int, looked_at: int, **given: Any) -> list[int]:
    """Return the epochs after which the validation split is looked at."""
    course = Course(_budget(epochs=epochs, batch_size=8, **given), 157, looked_at=looked_at)
    looks = []
    while not course.is_over:
        course.advance(-(-len(course.next_samples(np.arange(157))) // 8), 1.0)
        if course.look_is_due:
            looks.append(course.epochs)
            course.passed_rungs()
            course.verdict_was_given()
    return looks


def test_looks_for_the_curve_take_no_more_than_a_thirtieth_of_the_time() -> None:
    none = {"early_verdict": False, "rungs": ()}
    assert _looks(8, 15, **none) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert _looks(8, 31, **none) == [2, 4, 6, 8]
    assert _looks(8, 34, **none) == [3, 6, 8]
    assert _looks(8, 1570, **none) == [8]


def test_a_look_that_a_verdict_needs_is_taken_in_any_case() -> None:
    assert _looks(10, 1570) == [3, 7, 10]  # the verdict at the first rung, the second one, the end


def test_where_looks_are_dear_none_for_the_curve_follows_one_at_a_rung_of_the_same_epoch() -> None:
    assert _looks(4, 15) == [1, 1, 2, 2, 3, 4]  # the first rung lies in the second epoch, the other in the third
    assert _looks(4, 34) == [1, 2, 4]
