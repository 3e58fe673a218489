"""The course of a training: every sample once an epoch, stops where something is to be looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.course import Course
from menndl_dask.problem import Budget


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
    course = Course(Budget(epochs=epochs, batch_size=4, early_verdict=verdict), samples)
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


def test_whichever_ends_first_ends_the_training() -> None:
    budget = Budget(epochs=2, steps=7, batch_size=4, early_verdict=False)
    assert _stops(Course(budget, 20)) == [5, 7]
    assert _stops(Course(Budget(epochs=1, steps=70, batch_size=4, early_verdict=False), 20)) == [5]
    assert _stops(Course(Budget(seconds=3, batch_size=4, early_verdict=False), 20), 0.5) == [5, 7]
    assert _stops(Course(Budget(epochs=2, flops=28e6, batch_size=4, early_verdict=False), 20, 1e6)) == [5, 7]


def test_networks_get_the_same_flops_in_as_many_steps_as_these_are() -> None:
    budget = Budget(flops=1e9, batch_size=4, early_verdict=False)
    for flops in (1e5, 1e6, 3e6, 7e6, 1e8):
        course = Course(budget, 22, flops)
        _stops(course)
        assert course.samples_seen * flops == pytest.approx(1e9, abs=2 * flops)
    course = Course(budget, 22, 1e12)
    assert _stops(course) == [1]  # at least


def test_the_verdict_is_due_at_its_share_of_the_flops() -> None:
    assert _stops(Course(Budget(flops=480e6, batch_size=4), 160, 1e6)) == [40, 80, 120]
    course = Course(Budget(flops=480e6, batch_size=4), 160, 1e6)
    course.advance(40, 1.0)
    assert course.verdict_is_due


def test_the_verdict_is_due_at_the_epoch_that_is_nearest_to_its_share() -> None:
    course = Course(Budget(epochs=3, batch_size=4), 160)
    course.advance(40, 1.0)
    assert course.verdict_is_due
    course.verdict_was_given()
    assert not course.verdict_is_due
    assert _stops(course) == [80, 120]


def test_the_verdict_does_not_wait_for_a_first_epoch_that_is_too_long() -> None:
    assert _stops(Course(Budget(epochs=1, batch_size=4), 400)) == [34, 100]


def test_no_verdict_is_due_after_a_handful_of_steps() -> None:
    assert _stops(Course(Budget(epochs=2, batch_size=4), 20)) == [5, 10]
    course = Course(Budget(seconds=10, batch_size=4), 20)
    course.advance(5, 6.0)
    assert not course.verdict_is_due
    assert course.seconds_left() == pytest.approx(4.0)


def test_the_verdict_comes_in_time_where_time_is_the_budget() -> None:
    course = Course(Budget(seconds=10, batch_size=4), 400)
    assert course.seconds_left() == pytest.approx(3.4)
    course.advance(25, 3.5)
    assert course.verdict_is_due
    course.verdict_was_given()
    assert course.seconds_left() == pytest.approx(6.5)


def test_a_smaller_last_batch_counts_as_what_it_is() -> None:
    course = Course(Budget(epochs=2, batch_size=4, early_verdict=False), 10)
    course.advance(3, 1.0)
    assert (course.samples_seen, course.epoch, course.is_epoch_end) == (10, 1.0, True)
    course.advance(1, 1.0)
    assert (course.samples_seen, course.epoch) == (14, 1.4)
