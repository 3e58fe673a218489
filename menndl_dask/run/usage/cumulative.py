"""Sums over time: of rates that change in steps, of amounts that are spread over spans. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Cumulative:
    """An amount that grows piecewise linearly with time; constant before the first and after the last time.

    >>> total = Cumulative.of_spans([(0.0, 2.0, 6.0), (1.0, 2.0, 1.0)])
    >>> float(total(1.5)), float(total(99.0)), float(total.peak(1.0))
    (5.0, 7.0, 4.0)
    """

    times: NDArray[np.float64]  # ascending
    values: NDArray[np.float64]

    @classmethod
    def of_steps(cls, steps: Iterable[tuple[float, float]]) -> Cumulative:
        """Return the integral of a rate, given the times at which it changes and by how much."""
        changes = sorted(steps)
        if not changes:
            return cls(np.zeros(1), np.zeros(1))
        times = np.array([time for time, _ in changes])
        rates = np.cumsum([change for _, change in changes])
        return cls(times, np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(times))]))

    @classmethod
    def of_spans(cls, spans: Iterable[tuple[float, float, float]]) -> Cumulative:
        """Return the sum of amounts, each spread evenly from its begin to its end: ``(begin, end, amount)``."""
        kept = [(begin, max(end, begin + 1e-3), amount) for begin, end, amount in spans]
        rates = ((begin, end, amount / (end - begin)) for begin, end, amount in kept)
        return cls.of_steps([step for b, e, rate in rates for step in ((b, rate), (e, -rate))])

    def __call__(self, time: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the amount until a time."""
        return np.asarray(np.interp(time, self.times, self.values))

    @property
    def total(self) -> float:
        """The amount in the end."""
        return float(self.values[-1])

    def peak(self, window: float) -> float:
        """Return the largest mean rate over a window of this length, wherever it lies."""
        # the amount within a moving window is largest where it begins or ends at a change of the rate
        begins = np.concatenate([self.times, self.times - window])
        return float(np.max(self(begins + window) - self(begins))) / window


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The time that a run has taken, without what lies between its sessions; their intervals may overlap.

    >>> clock = Elapsed.of([(0.0, 10.0), (5.0, 12.0), (100.0, 103.0)])
    >>> clock.total, clock.intervals, float(clock.at(101.0)), float(clock.instant(13.0))
    (15.0, ((0.0, 12.0), (100.0, 103.0)), 13.0, 101.0)
    """

    intervals: tuple[tuple[float, float], ...]  # in order, apart

    @classmethod
    def of(cls, intervals: Iterable[tuple[float, float]]) -> Elapsed:
        """Return the clock of the union of intervals."""
        union: list[tuple[float, float]] = []
        for begin, end in sorted(intervals):
            if union and begin <= union[-1][1]:
                union[-1] = union[-1][0], max(union[-1][1], end)
            else:
                union.append((begin, end))
        return cls(tuple(union))

    @property
    def total(self) -> float:
        """Seconds of all intervals."""
        return sum(end - begin for begin, end in self.intervals)

    def at(self, instants: float | Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds that have passed at an instant."""
        return np.asarray(np.interp(instants, *self._knots()))

    def instant(self, seconds: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the instant at which so many seconds have passed."""
        instants, passed = self._knots()
        return np.asarray(np.interp(seconds, passed, instants))

    def _knots(self) -> tuple[list[float], list[float]]:
        instants: list[float] = []
        passed: list[float] = []
        before = 0.0
        for begin, end in self.intervals:
            instants += [begin, end]
            passed += [before, before + end - begin]
            before += end - begin
        return instants or [0.0], passed or [0.0]
