"""The course of a training through its budget: which steps come next, when to look, when it is over. Pure."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from menndl_dask.problem import Budget

_FEWEST_STEPS = 20  # before a verdict: after fewer steps hardly any network shows that it learns


class Course:
    """How far a training has come.

    A training stops to look at the validation split after each epoch, when the early verdict is due, and at its end.

    Parameters
    ----------
    budget
        Epochs, steps, seconds and FLOPs of training; the first that is used up ends it.
    samples
        Number of training samples.
    flops
        Of training on one sample, forward and backward; needed where FLOPs are what is budgeted.

    Examples
    --------
    >>> import numpy as np
    >>> course = Course(Budget(epochs=1.5, batch_size=4, early_verdict=False), samples=10)
    >>> order = np.arange(10)
    >>> while not course.is_over:
    ...     print(course.next_samples(order))
    ...     course.advance(-(-len(course.next_samples(order)) // 4), seconds=0.1)
    [0 1 2 3 4 5 6 7 8 9]
    [0 1 2 3]
    """

    def __init__(self, budget: Budget, samples: int, flops: float = math.inf) -> None:
        self.samples = samples
        self.steps = 0
        self.seconds = 0.0
        self._batch_size = budget.batch_size
        self._epoch_steps = -(-samples // budget.batch_size)
        by_steps = math.inf if budget.steps is None else budget.steps
        by_flops = self._steps_of(None if budget.flops is None else budget.flops / (flops * samples))
        self._last_step = min(self._steps_of(budget.epochs), by_steps, by_flops)
        self._last_second = math.inf if budget.seconds is None else budget.seconds
        self._verdict_step, self._verdict_second = math.inf, math.inf
        if budget.early_verdict:
            self._verdict_step = self._step_near(max(_FEWEST_STEPS, budget.verdict_share * self._last_step))
            self._verdict_second = budget.verdict_share * self._last_second

    @property
    def epoch(self) -> float:
        """Passes over the training samples so far."""
        return self.samples_seen / self.samples

    @property
    def samples_seen(self) -> int:
        """Samples that steps were taken on, repetitions counted."""
        epochs, rest = divmod(self.steps, self._epoch_steps)
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
        return self.steps % self._epoch_steps == 0

    @property
    def verdict_is_due(self) -> bool:
        """Whether it is time for the early verdict."""
        is_time = self.seconds >= self._verdict_second and self.steps >= _FEWEST_STEPS
        return is_time or self.steps >= self._verdict_step

    def verdict_was_given(self) -> None:
        """Note that no verdict is due any more."""
        self._verdict_step = self._verdict_second = math.inf

    def next_samples(self, order: NDArray[Any]) -> NDArray[Any]:
        """Return the samples until the next stop, from this epoch's order of samples."""
        begin = self.steps - self.steps % self._epoch_steps
        stop = int(min(begin + self._epoch_steps, self._last_step, self._verdict_step))
        return order[(self.steps - begin) * self._batch_size : (stop - begin) * self._batch_size]

    def seconds_left(self) -> float:
        """Return the seconds of training until the verdict or the end, if time is what is budgeted."""
        stop = self._verdict_second if self.seconds < self._verdict_second < math.inf else self._last_second
        return stop - self.seconds

    def advance(self, steps: int, seconds: float) -> None:
        """Note that steps were taken, and how long they took."""
        self.steps += steps
        self.seconds += seconds

    def _steps_of(self, epochs: float | None) -> float:
        return math.inf if epochs is None else max(1, round(epochs * self._epoch_steps))

    def _step_near(self, step: float) -> float:
        """Return the end of the nearest epoch, where the training stops anyway; a step in the first epoch stays."""
        if math.isinf(step):
            return step
        epochs = round(step / self._epoch_steps)
        return epochs * self._epoch_steps if epochs else math.ceil(step)
