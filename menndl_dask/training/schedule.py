"""The schedule of a training: which steps come next, when to validate, when the budget is used up. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from menndl_dask.problem import Budget

# learning rates in a budget of steps; in an epoch, if the number of steps is not known
_RATE_STEPS, _RATE_STEPS_AN_EPOCH = 20, 4
_FEWEST_STEPS = 20  # before a check within an epoch: after fewer, hardly any network shows that it learns
_EPSILON = 1e-9
_NEAR = 0.05  # of the budget
_VALIDATION_SHARE = 1 / 30  # of the time of the steps, at most, for validations that early stopping does not need
_FORWARD = 1 / 3  # time of a prediction, in units of that of a step, both for one sample
_MANY, _SPARSER = 20, 1.05  # after so many validations, the next comes when the epochs have grown by a twentieth


class TrainingSchedule:
    """The progress of a training through its budget.

    The network is validated when early stopping checks whether it learns, at each rung, and at the end. A rung moves to
    the end of the epoch if that is within a twentieth of the budget, or if the rung is after fewer than 20 steps; such
    a rung in the last epoch is dropped. For the learning curve there are validations after every epoch, or after every
    second, third, … if they would take more than a thirtieth of the training time; after 20 of them they become rarer.

    The training ends when epochs, steps, seconds or FLOPs of the budget are used up. `flops` are those of training on
    one sample, forward and backward; needed if the budget is in FLOPs.

    Examples
    --------
    >>> import numpy as np
    >>> budget = Budget(epochs=1.5, batch_size=4, early_stopping=False, schedule="constant")
    >>> schedule = TrainingSchedule(budget, samples=10)
    >>> order = np.arange(10)
    >>> while not schedule.is_over:
    ...     print(schedule.next_samples(order))
    ...     schedule.advance(-(-len(schedule.next_samples(order)) // 4), seconds=0.1)
    [0 1 2 3 4 5 6 7 8 9]
    [0 1 2 3]
    """

    def __init__(self, budget: Budget, samples: int, flops: float = math.inf, validation_samples: int = 0) -> None:
        self.samples = samples
        self.steps = 0
        self.seconds = 0.0
        self._batch_size = budget.batch_size
        self.epoch_steps = -(-samples // budget.batch_size)
        # epochs between two validations
        self._interval = max(1, math.ceil(validation_samples * _FORWARD / (samples * _VALIDATION_SHARE)))
        by_steps = math.inf if budget.steps is None else budget.steps
        by_flops = self._steps_of(None if budget.flops is None else budget.flops / (flops * samples))
        self._last_step = min(self._steps_of(budget.epochs), by_steps, by_flops)
        self._last_second = math.inf if budget.seconds is None else budget.seconds
        self._rate_steps = math.inf  # steps with the same learning rate
        if budget.schedule != "constant":
            open_ended = math.isinf(self._last_step)
            usual = self.epoch_steps / _RATE_STEPS_AN_EPOCH if open_ended else self._last_step / _RATE_STEPS
            self._rate_steps = max(1, math.floor(usual))
        steps = dict(zip(budget.rungs, accumulate(map(self._step_of, budget.rungs), max), strict=True))
        # the rungs that are still to come, and the step of each
        self._rungs = {
            rung: step for rung, step in steps.items() if step >= _FEWEST_STEPS or step % self.epoch_steps == 0
        }
        self._rung_steps = tuple(self._rungs.values())
        self._check_step, self._check_second = math.inf, math.inf
        if budget.early_stopping:
            self._check_step = self._stop_near(max(_FEWEST_STEPS, budget.early_stopping_share * self._last_step))
            self._check_second = budget.early_stopping_share * self._last_second

    @property
    def rate_factor(self) -> float:
        """Factor on the learning rate for the next steps: half a cosine over the budget, in small steps.

        Loshchilov and Hutter 2017, doi:10.48550/arXiv.1608.03983, without restarts.
        """
        if math.isinf(self._rate_steps):
            return 1.0
        middle = self.share
        if not math.isinf(self._last_step):  # by steps, so that a resumed training has the same rates
            step = (self.steps // self._rate_steps + 0.5) * self._rate_steps
            middle = max(middle, step / self._last_step)
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
        """Number of samples trained on, repetitions counted."""
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
    def learning_check_is_due(self) -> bool:
        """Whether early stopping is to check now that the network learns."""
        is_time = self.seconds >= self._check_second and self.steps >= _FEWEST_STEPS
        return is_time or self.steps >= self._check_step

    @property
    def validation_is_due(self) -> bool:
        """Whether the network is to be validated now; False if steps were interrupted for another reason."""
        validations, rest = divmod(self.epochs, self._interval)
        # a validation at a rung makes the one at the end of this epoch superfluous
        has_been = self._interval > 1 and any(0 < self.steps - step < self.epoch_steps for step in self._rung_steps)
        is_for_curve = self.is_epoch_end and rest == 0 and _is_taken(validations) and not has_been
        is_past_rung = any(self._is_past(rung, step) for rung, step in self._rungs.items())
        return self.is_over or is_for_curve or self.learning_check_is_due or is_past_rung

    def passed_rungs(self) -> tuple[float, ...]:
        """Return the rungs that were passed since the last call."""
        passed = tuple(rung for rung, step in self._rungs.items() if self._is_past(rung, step))
        for rung in passed:
            del self._rungs[rung]
        return passed

    def _is_past(self, rung: float, step: float) -> bool:
        return self.steps >= step or self.seconds >= rung * self._last_second

    def state(self) -> dict[str, float]:
        """Return the progress, for `resume`."""
        to_check = math.isfinite(self._check_step) or math.isfinite(self._check_second)
        return {"steps": self.steps, "seconds": self.seconds, "rungs": len(self._rungs), "learning_check": to_check}

    def resume(self, state: Mapping[str, float]) -> None:
        """Continue from the progress of another process."""
        self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
        self._rungs = dict(list(self._rungs.items())[len(self._rungs) - int(state["rungs"]) :])
        if not state["learning_check"]:
            self.learning_was_checked()

    def learning_was_checked(self) -> None:
        """Record that early stopping has checked that the network learns."""
        self._check_step = self._check_second = math.inf

    def next_samples(self, order: NDArray[Any]) -> NDArray[Any]:
        """Return the samples until the next stop or learning rate, from this epoch's order of samples."""
        begin = self.steps - self.steps % self.epoch_steps
        has_rates = math.isfinite(self._rate_steps)
        next_rate = (self.steps // self._rate_steps + 1) * self._rate_steps if has_rates else math.inf
        stops = (begin + self.epoch_steps, self._last_step, self._check_step, next_rate, *self._rungs.values())
        stop = int(min(step for step in stops if step > self.steps))
        return order[(self.steps - begin) * self._batch_size : (stop - begin) * self._batch_size]

    def seconds_left(self) -> float:
        """Return the seconds of training until a check, a rung or the end; infinite if the budget has no seconds."""
        stops = (self._check_second, *(rung * self._last_second for rung in self._rungs), self._last_second)
        return min((stop for stop in stops if self.seconds < stop < math.inf), default=self._last_second) - self.seconds

    def advance(self, steps: int, seconds: float) -> None:
        """Record that steps were taken, and the seconds they took."""
        self.steps += steps
        self.seconds += seconds

    def _steps_of(self, epochs: float | None) -> float:
        return math.inf if epochs is None else max(1, round(epochs * self.epoch_steps))

    def _step_of(self, rung: float) -> float:
        """Return the step at which the training stops for a rung; infinite if the number of steps is not known."""
        if math.isinf(self._last_step):
            return math.inf
        step = math.ceil(rung * self._last_step - _EPSILON)
        epoch_end = -(-step // self.epoch_steps) * self.epoch_steps
        is_soon = step < _FEWEST_STEPS or epoch_end <= step + _NEAR * self._last_step
        return epoch_end if is_soon and epoch_end < self._last_step else step

    def _stop_near(self, step: float) -> float:
        """Return the rung or end of an epoch nearest to a step; in the first epoch the step itself if none is near."""
        if math.isinf(step):
            return step
        epochs = round(step / self.epoch_steps)
        reach = math.inf if epochs else _NEAR * self._last_step
        stops = [stop for stop in self._rungs.values() if abs(stop - step) <= reach]
        if epochs:
            stops.append(epochs * self.epoch_steps)
        return min(stops, key=lambda stop: abs(stop - step), default=math.ceil(step))


def _is_taken(validation: int) -> bool:
    """Return whether a validation for the curve is taken: a small network may see the data a thousand times."""
    if validation <= _MANY:
        return True
    return math.floor(math.log(validation, _SPARSER)) > math.floor(math.log(validation - 1, _SPARSER))
