"""The course of a training through its budget: which steps come next, when to look, when it is over. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from menndl_dask.problem import Budget

_STAIRS, _STAIRS_AN_EPOCH = 20, 4  # learning rates in a budget of steps; in an epoch, where the end is not known
_FEWEST_STEPS = 20  # before a verdict within an epoch: after fewer hardly any network shows that it learns
_EPSILON = 1e-9
_NEAR = 0.05  # of the budget
_LOOKS = 1 / 30  # of the time of the steps, at most, for looks that no verdict needs
_FORWARD = 1 / 3  # of the time of a step, for a sample that is only looked at
_MANY, _SPARSER = 20, 1.05  # looks, after which one more each time that a twentieth more epochs have passed


class Course:
    """How far a training has come.

    A training stops to look at the validation split when the early verdict is due, at a rung (at the end of the epoch
    where that comes within a twentieth of the budget, or the rung after a handful of steps), and at its end; and for
    the learning curve after every epoch, or every second or third and so on where looks would take more than a
    thirtieth of the time otherwise, and after fewer when there have been many. A rung after a handful of steps in the
    last epoch is left out.

    Parameters
    ----------
    budget
        Epochs, steps, seconds and FLOPs of training; the first that is used up ends it.
    samples
        Number of training samples.
    flops
        Of training on one sample, forward and backward; needed where FLOPs are what is budgeted.
    looked_at
        Number of validation samples.

    Examples
    --------
    >>> import numpy as np
    >>> course = Course(Budget(epochs=1.5, batch_size=4, early_verdict=False, schedule="constant"), samples=10)
    >>> order = np.arange(10)
    >>> while not course.is_over:
    ...     print(course.next_samples(order))
    ...     course.advance(-(-len(course.next_samples(order)) // 4), seconds=0.1)
    [0 1 2 3 4 5 6 7 8 9]
    [0 1 2 3]
    """

    def __init__(self, budget: Budget, samples: int, flops: float = math.inf, looked_at: int = 0) -> None:
        self.samples = samples
        self.steps = 0
        self.seconds = 0.0
        self._batch_size = budget.batch_size
        self.epoch_steps = -(-samples // budget.batch_size)
        self._look_epochs = max(1, math.ceil(looked_at * _FORWARD / (samples * _LOOKS)))  # between two looks
        by_steps = math.inf if budget.steps is None else budget.steps
        by_flops = self._steps_of(None if budget.flops is None else budget.flops / (flops * samples))
        self._last_step = min(self._steps_of(budget.epochs), by_steps, by_flops)
        self._last_second = math.inf if budget.seconds is None else budget.seconds
        self._stair = math.inf  # steps of the same learning rate
        if budget.schedule != "constant":
            usual = self.epoch_steps / _STAIRS_AN_EPOCH if math.isinf(self._last_step) else self._last_step / _STAIRS
            self._stair = max(1, math.floor(usual))
        # where the training stops for them
        steps = dict(zip(budget.rungs, accumulate(map(self._step_of, budget.rungs), max), strict=True))
        is_rung = {rung: step >= _FEWEST_STEPS or step % self.epoch_steps == 0 for rung, step in steps.items()}
        self._rungs = {rung: step for rung, step in steps.items() if is_rung[rung]}  # those still to come
        self._stops = tuple(self._rungs.values())
        self._verdict_step, self._verdict_second = math.inf, math.inf
        if budget.early_verdict:
            self._verdict_step = self._stop_near(max(_FEWEST_STEPS, budget.verdict_share * self._last_step))
            self._verdict_second = budget.verdict_share * self._last_second

    @property
    def rate(self) -> float:
        """Factor on the learning rate for the steps that come next: half a cosine over the budget, in small stairs.

        Loshchilov and Hutter 2017, doi:10.48550/arXiv.1608.03983, without restarts.
        """
        if math.isinf(self._stair):
            return 1.0
        middle = self.share
        if not math.isinf(self._last_step):  # by steps, so that a training that was interrupted has the same rates
            middle = max(middle, (self.steps // self._stair + 0.5) * self._stair / self._last_step)
        return 0.5 * (1.0 + math.cos(math.pi * min(middle, 1.0)))

    @property
    def epoch(self) -> float:
        """Passes over the training samples so far."""
        return self.samples_seen / self.samples

    @property
    def epochs(self) -> int:
        """Whole epochs so far."""
        return self.steps // self.epoch_steps

    @property
    def samples_seen(self) -> int:
        """Samples that steps were taken on, repetitions counted."""
        epochs, rest = divmod(self.steps, self.epoch_steps)
        return epochs * self.samples + min(rest * self._batch_size, self.samples)

    @property
    def share(self) -> float:
        """Share of the budget that is used up."""
        return max(self.steps / self._last_step, self.seconds / self._last_second)

    @property
    def is_over(self) -> bool:
        """Whether the budget is used up."""
        return self.share >= 1

    @property
    def is_epoch_end(self) -> bool:
        """Whether every sample has been seen equally often."""
        return self.steps % self.epoch_steps == 0

    @property
    def verdict_is_due(self) -> bool:
        """Whether it is time for the early verdict."""
        is_time = self.seconds >= self._verdict_second and self.steps >= _FEWEST_STEPS
        return is_time or self.steps >= self._verdict_step

    @property
    def look_is_due(self) -> bool:
        """Whether the training has come to where it stops, or was only interrupted."""
        looks, rest = divmod(self.epochs, self._look_epochs)
        is_looked_at = self.is_epoch_end and rest == 0 and _is_taken(looks) and not self._was_looked_at
        is_past_rung = any(self._is_past(rung, step) for rung, step in self._rungs.items())
        return self.is_over or is_looked_at or self.verdict_is_due or is_past_rung

    @property
    def _was_looked_at(self) -> bool:
        """Whether a rung in the epoch that ends has told enough, where looks are dear."""
        return self._look_epochs > 1 and any(0 < self.steps - stop < self.epoch_steps for stop in self._stops)

    def passed_rungs(self) -> tuple[float, ...]:
        """Return the rungs that were passed since this was asked last."""
        passed = tuple(rung for rung, step in self._rungs.items() if self._is_past(rung, step))
        for rung in passed:
            del self._rungs[rung]
        return passed

    def _is_past(self, rung: float, step: float) -> bool:
        return self.steps >= step or self.seconds >= rung * self._last_second

    def state(self) -> dict[str, float]:
        """Return how far it is, for `resume`."""
        return {"steps": self.steps, "seconds": self.seconds, "rungs": len(self._rungs),
                "verdict": math.isfinite(self._verdict_step) or math.isfinite(self._verdict_second)}  # fmt: skip

    def resume(self, state: Mapping[str, float]) -> None:
        """Go on from where another process had come."""
        self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
        self._rungs = dict(list(self._rungs.items())[len(self._rungs) - int(state["rungs"]) :])
        if not state["verdict"]:
            self.verdict_was_given()

    def verdict_was_given(self) -> None:
        """Note that no verdict is due any more."""
        self._verdict_step = self._verdict_second = math.inf

    def next_samples(self, order: NDArray[Any]) -> NDArray[Any]:
        """Return the samples until the next stop or learning rate, from this epoch's order of samples."""
        begin = self.steps - self.steps % self.epoch_steps
        stair = math.inf if math.isinf(self._stair) else (self.steps // self._stair + 1) * self._stair
        stops = (begin + self.epoch_steps, self._last_step, self._verdict_step, stair, *self._rungs.values())
        stop = int(min(step for step in stops if step > self.steps))
        return order[(self.steps - begin) * self._batch_size : (stop - begin) * self._batch_size]

    def seconds_left(self) -> float:
        """Return the seconds of training until a verdict, a rung or the end, if time is what is budgeted."""
        stops = (self._verdict_second, *(rung * self._last_second for rung in self._rungs), self._last_second)
        return min((stop for stop in stops if self.seconds < stop < math.inf), default=self._last_second) - self.seconds

    def advance(self, steps: int, seconds: float) -> None:
        """Note that steps were taken, and how long they took."""
        self.steps += steps
        self.seconds += seconds

    def _steps_of(self, epochs: float | None) -> float:
        return math.inf if epochs is None else max(1, round(epochs * self.epoch_steps))

    def _step_of(self, rung: float) -> float:
        """Return the step at which the training stops for a rung, where steps are known."""
        if math.isinf(self._last_step):
            return math.inf
        step = math.ceil(rung * self._last_step - _EPSILON)
        epoch_end = -(-step // self.epoch_steps) * self.epoch_steps
        is_soon = step < _FEWEST_STEPS or epoch_end <= step + _NEAR * self._last_step
        return epoch_end if is_soon and epoch_end < self._last_step else step

    def _stop_near(self, step: float) -> float:
        """Return where the training stops anyway, near a step; in the first epoch that step where it stops nowhere."""
        if math.isinf(step):
            return step
        epochs = round(step / self.epoch_steps)
        reach = math.inf if epochs else _NEAR * self._last_step
        stops = [stop for stop in self._rungs.values() if abs(stop - step) <= reach]
        if epochs:
            stops.append(epochs * self.epoch_steps)
        return min(stops, key=lambda stop: abs(stop - step), default=math.ceil(step))


def _is_taken(look: int) -> bool:
    """Return whether a look for the curve is taken: a small network may see the data a thousand times."""
    if look <= _MANY:
        return True
    return math.floor(math.log(look, _SPARSER)) > math.floor(math.log(look - 1, _SPARSER))
