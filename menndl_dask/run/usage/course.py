"""The use of a run's workers over time, in intervals of equal length. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menndl_dask.run.usage.cumulative import Cumulative
from menndl_dask.run.usage.usage import Usage

_INTERVALS = 48  # at most; in a short run one for each result

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Course:
    """What happened in each interval of a run; arrays of the same length.

    Parameters
    ----------
    ends
        End of each interval, seconds of the run.
    flops_per_s
        FLOPs of training in a second.
    networks_per_hour
        Results in an hour.
    busy, present
        Mean number of evaluations that ran, and that the workers could do at the same time.
    best
        Best fitness so far; NaN before the first.
    """

    ends: Values
    flops_per_s: Values
    networks_per_hour: Values
    busy: Values
    present: Values
    best: Values


def course_of(usage: Usage, intervals: int | None = None) -> Course:
    """Return the course of a run, in at most 48 intervals unless you say how many."""
    results = usage.evaluated
    count = intervals or max(1, min(_INTERVALS, len(results)))
    edges = np.linspace(0.0, usage.wall_s, count + 1)
    instants = usage.clock.instant(edges)
    length = max(usage.wall_s / count, 1e-9)
    busy = Cumulative.of_spans((*span, span[1] - span[0]) for one in results if (span := one.span) is not None)
    told = np.array([one.told for one in results])
    arrived = np.searchsorted(told, instants[1:], side="right")
    arrived[-1:] = len(results)
    fitness = np.array([np.nan if one.fitness is None else one.fitness for one in results])
    best = np.fmax.accumulate(fitness) if len(fitness) else fitness
    return Course(
        edges[1:],
        np.diff(usage.flops(instants)) / length,
        3600.0 * np.diff(np.concatenate([[0], arrived])) / length,
        np.diff(busy(instants)) / length,
        np.diff(usage.slots(instants)) / length,
        np.array([best[n - 1] if n else np.nan for n in arrived]),
    )
