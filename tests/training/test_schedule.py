"""The schedule of a training: every sample once an epoch, stops where something is to be looked at."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.problem import Budget
from menndl_dask.training.schedule import TrainingSchedule


def _budget(**given: Any) -> Budget:
    """Return a budget whose learning rate_factor stops no training on the way."""
    return Budget(**given, schedule="constant")


def _stops(schedule: TrainingSchedule, step_seconds: float = 0.0) -> list[float]:
    """Run a schedule to its end and return the steps at which it stopped."""
    stops = []
    order = np.arange(schedule.samples)
    while not schedule.is_over:
        chosen = schedule.next_samples(order)
        possible = int(schedule.seconds_left() / step_seconds) + 1 if step_seconds else len(chosen)
        steps = min(-(-len(chosen) // 4), possible)
        schedule.advance(steps, steps * step_seconds)
        stops.append(schedule.steps)
        if schedule.learning_check_is_due:
            schedule.learning_was_checked()
    return stops


@given(st.integers(1, 50), st.floats(0.1, 4), st.booleans())
def test_every_epoch_goes_through_every_sample_once(samples: int, epochs: float, stopping: bool) -> None:
    schedule = TrainingSchedule(_budget(epochs=epochs, batch_size=4, early_stopping=stopping, rungs=()), samples)
    seen: list[int] = []
    while not schedule.is_over:
        chosen = schedule.next_samples(np.arange(samples))
        assert len(chosen) > 0
        seen.extend(chosen)
        schedule.advance(-(-len(chosen) // 4), 1.0)
        if schedule.learning_check_is_due:
            schedule.learning_was_checked()
        if schedule.is_epoch_end:
            assert sorted(seen) == list(range(samples))
            seen.clear()
    assert schedule.steps == max(1, round(epochs * -(-samples // 4)))
    assert schedule.epoch == pytest.approx(epochs, abs=4 / samples + 0.5 * 4 / samples + 1 / samples)


def test_the_learning_rate_falls_to_nearly_nothing_over_the_budget() -> None:
    schedule = TrainingSchedule(Budget(epochs=5, batch_size=4, rungs=()), 40)
    rates = []
    while not schedule.is_over:
        rates.append(schedule.rate_factor)
        schedule.advance(-(-len(schedule.next_samples(np.arange(40))) // 4), 1.0)
    assert len(rates) >= 20
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.99
    assert rates[-1] < 0.01
    assert np.mean(rates) == pytest.approx(0.5, abs=0.01)


def test_an_interruption_changes_no_learning_rate() -> None:
    whole, interrupted = (TrainingSchedule(Budget(epochs=4, batch_size=4, rungs=()), 400) for _ in range(2))
    whole.advance(20, 1.0)
    interrupted.advance(23, 1.0)  # within the stair that begins after 20
    assert interrupted.rate_factor == whole.rate_factor
    assert len(interrupted.next_samples(np.arange(400))) == len(whole.next_samples(np.arange(400))) - 3 * 4


def test_a_learning_rate_follows_the_time_where_seconds_are_budgeted() -> None:
    schedule = TrainingSchedule(Budget(seconds=10, batch_size=4, rungs=()), 40)
    assert schedule.rate_factor == 1.0
    schedule.advance(7, 5.0)
    assert schedule.rate_factor == pytest.approx(0.5)


def test_a_constant_learning_rate_stays() -> None:
    schedule = TrainingSchedule(Budget(epochs=4, batch_size=4, rungs=(), schedule="constant"), 40)
    schedule.advance(39, 1.0)
    assert schedule.rate_factor == 1.0


def test_whichever_ends_first_ends_the_training() -> None:
    budget = _budget(epochs=2, steps=7, batch_size=4, early_stopping=False, rungs=())
    assert _stops(TrainingSchedule(budget, 20)) == [5, 7]
    without_early_stopping = {"batch_size": 4, "early_stopping": False, "rungs": ()}
    assert _stops(TrainingSchedule(_budget(epochs=1, steps=70, **without_early_stopping), 20)) == [5]
    assert _stops(TrainingSchedule(_budget(seconds=3, **without_early_stopping), 20), 0.5) == [5, 7]
    assert _stops(TrainingSchedule(_budget(epochs=2, flops=28e6, **without_early_stopping), 20, 1e6)) == [5, 7]


def test_networks_get_the_same_flops_in_as_many_steps_as_these_are() -> None:
    budget = _budget(flops=1e9, batch_size=4, early_stopping=False, rungs=())
    for flops in (1e5, 1e6, 3e6, 7e6, 1e8):
        schedule = TrainingSchedule(budget, 22, flops)
        _stops(schedule)
        assert schedule.samples_seen * flops == pytest.approx(1e9, abs=2 * flops)
    schedule = TrainingSchedule(budget, 22, 1e12)
    assert _stops(schedule) == [1]  # at least


def test_the_learning_check_is_due_at_its_share_of_the_flops() -> None:
    assert _stops(TrainingSchedule(_budget(flops=480e6, batch_size=4, rungs=()), 160, 1e6)) == [40, 80, 120]
    schedule = TrainingSchedule(_budget(flops=480e6, batch_size=4, rungs=()), 160, 1e6)
    schedule.advance(40, 1.0)
    assert schedule.learning_check_is_due


def test_the_learning_check_is_due_at_the_epoch_that_is_nearest_to_its_share() -> None:
    schedule = TrainingSchedule(_budget(epochs=3, batch_size=4, rungs=()), 160)
    schedule.advance(40, 1.0)
    assert schedule.learning_check_is_due
    schedule.learning_was_checked()
    assert not schedule.learning_check_is_due
    assert _stops(schedule) == [80, 120]


def test_the_learning_check_does_not_wait_for_a_first_epoch_that_is_too_long() -> None:
    assert _stops(TrainingSchedule(_budget(epochs=1, batch_size=4, rungs=()), 400)) == [34, 100]


def test_no_learning_check_is_due_after_a_handful_of_steps() -> None:
    assert _stops(TrainingSchedule(_budget(epochs=2, batch_size=4, rungs=()), 20)) == [5, 10]
    schedule = TrainingSchedule(_budget(seconds=10, batch_size=4, rungs=()), 20)
    schedule.advance(5, 6.0)
    assert not schedule.learning_check_is_due
    assert schedule.seconds_left() == pytest.approx(4.0)


def test_the_learning_check_comes_in_time_where_time_is_the_budget() -> None:
    schedule = TrainingSchedule(_budget(seconds=10, batch_size=4, rungs=()), 400)
    assert schedule.seconds_left() == pytest.approx(3.4)
    schedule.advance(25, 3.5)
    assert schedule.learning_check_is_due
    schedule.learning_was_checked()
    assert schedule.seconds_left() == pytest.approx(6.5)


def test_a_smaller_last_batch_counts_as_what_it_is() -> None:
    schedule = TrainingSchedule(_budget(epochs=2, batch_size=4, early_stopping=False, rungs=()), 10)
    schedule.advance(3, 1.0)
    assert (schedule.samples_seen, schedule.epoch, schedule.is_epoch_end) == (10, 1.0, True)
    schedule.advance(1, 1.0)
    assert (schedule.samples_seen, schedule.epoch) == (14, 1.4)


def test_a_training_stops_at_a_rung_or_at_the_end_of_the_epoch_that_comes_soon_after() -> None:
    budget = _budget(epochs=6, batch_size=2, early_stopping=False, rungs=(0.1, 0.33, 0.6))
    schedule = TrainingSchedule(budget, 20)
    passed = []
    while not schedule.is_over:
        schedule.advance(-(-len(schedule.next_samples(np.arange(20))) // 2), 1.0)
        assert schedule.validation_is_due
        passed.append((schedule.steps, schedule.passed_rungs()))
    assert passed == [(10, (0.1,)), (20, (0.33,)), (30, ()), (36, (0.6,)), (40, ()), (50, ()), (60, ())]


def test_a_short_training_stops_at_the_rungs_themselves_and_once_for_two_checks() -> None:
    budget = _budget(epochs=1, batch_size=4, early_stopping=False, rungs=(0.33, 0.66))
    assert _stops(TrainingSchedule(budget, 400)) == [33, 66, 100]
    assert _stops(TrainingSchedule(replace(budget, early_stopping=True), 400)) == [33, 66, 100]
    assert _stops(TrainingSchedule(replace(budget, epochs=3), 400)) == [100, 200, 300]
    longer = replace(budget, epochs=4, early_stopping=True)
    assert _stops(TrainingSchedule(longer, 400)) == [100, 132, 200, 264, 300, 400]
    assert _stops(TrainingSchedule(budget, 160)) == [27, 40]


def test_an_interruption_past_a_rung_is_no_validation() -> None:
    schedule = TrainingSchedule(Budget(epochs=10, batch_size=4, rungs=(0.36,), early_stopping=False), 80)
    validations = []
    while not schedule.is_over:  # the learning rate_factor changes every ten steps, twice an epoch
        schedule.advance(-(-len(schedule.next_samples(np.arange(80))) // 4), 1.0)
        if schedule.validation_is_due:
            validations.append((schedule.epoch, schedule.passed_rungs()))
    assert validations == [(epoch, (0.36,) if epoch == 4 else ()) for epoch in range(1, 11)]


def test_a_rung_comes_in_time_where_time_is_the_budget() -> None:
    schedule = TrainingSchedule(_budget(seconds=10, batch_size=4, early_stopping=False, rungs=(0.5,)), 400)
    assert schedule.seconds_left() == pytest.approx(5)
    schedule.advance(30, 5.1)
    assert schedule.validation_is_due
    assert schedule.passed_rungs() == (0.5,)
    assert not schedule.validation_is_due
    assert schedule.seconds_left() == pytest.approx(4.9)


@given(st.integers(0, 60), st.floats(0.2, 4))
def test_a_course_that_goes_on_elsewhere_takes_the_same_way(interruption: int, epochs: float) -> None:
    def schedule() -> TrainingSchedule:
        return TrainingSchedule(_budget(epochs=epochs, batch_size=4), 90)

    def way(of: TrainingSchedule) -> list[tuple[int, bool, tuple[float, ...]]]:
        found = []
        while not of.is_over:
            of.advance(1, 0.1)
            if of.validation_is_due:
                found.append((of.steps, of.learning_check_is_due, of.passed_rungs()))
                if of.learning_check_is_due:
                    of.learning_was_checked()
        return found

    whole, first, second = schedule(), schedule(), schedule()
    validations = way(whole)
    before = []
    while first.steps < interruption and not first.is_over:
        first.advance(1, 0.1)
        if first.validation_is_due:
            before.append((first.steps, first.learning_check_is_due, first.passed_rungs()))
            if first.learning_check_is_due:
                first.learning_was_checked()
    second.resume(first.state())
    assert before + way(second) == validations


def test_of_a_thousand_epochs_only_some_are_looked_at() -> None:
    schedule = TrainingSchedule(Budget(flops=1e9, batch_size=4, early_stopping=False, rungs=()), 4, 1e9 / 4000)
    validations = []
    while not schedule.is_over:
        schedule.advance(1, 0.001)
        if schedule.validation_is_due:
            validations.append(schedule.epochs)
    assert validations[:20] == list(range(1, 21))
    assert validations[-1] == 1000
    assert 80 < len(validations) < 120
    assert max(after / before for before, after in pairwise(validations[20:])) < 1.11


def _validations(epochs: int, validation_samples: int, **given: Any) -> list[int]:
    """Return the epochs after which the validation split is looked at."""
    budget = _budget(epochs=epochs, batch_size=8, **given)
    schedule = TrainingSchedule(budget, 157, validation_samples=validation_samples)
    validations = []
    while not schedule.is_over:
        schedule.advance(-(-len(schedule.next_samples(np.arange(157))) // 8), 1.0)
        if schedule.validation_is_due:
            validations.append(schedule.epochs)
            schedule.passed_rungs()
            schedule.learning_was_checked()
    return validations


def test_looks_for_the_curve_take_no_more_than_a_thirtieth_of_the_time() -> None:
    none = {"early_stopping": False, "rungs": ()}
    assert _validations(8, 15, **none) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert _validations(8, 31, **none) == [2, 4, 6, 8]
    assert _validations(8, 34, **none) == [3, 6, 8]
    assert _validations(8, 1570, **none) == [8]


def test_a_validation_that_a_check_needs_is_taken_in_any_case() -> None:
    assert _validations(10, 1570) == [3, 7, 10]  # the check at the first rung, the second one, the end


def test_where_looks_are_dear_none_for_the_curve_follows_one_at_a_rung_of_the_same_epoch() -> None:
    assert _validations(4, 15) == [1, 1, 2, 2, 3, 4]  # the first rung lies in the second epoch, the other in the third
    assert _validations(4, 34) == [1, 2, 4]
