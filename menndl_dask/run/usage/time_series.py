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
class TimeSeries:
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


def time_series_of(usage: Usage, intervals: int | None = None) -> TimeSeries:
    """Return the use over time, in at most 48 intervals unless you say how many."""
    results = usage.evaluated
    count = intervals or min(_INTERVALS, len(results))
    edges = np.linspace(0.0, usage.wall_s, count + 1)
    instants = usage.clock.instant(edges)
    length = max(usage.wall_s / max(count, 1), 1e-9)
    busy = Cumulative.of_spans((*span, span[1] - span[0]) for one in results if (span := one.span) is not None)
    completed = np.array([one.completed for one in results])
    count_until = np.searchsorted(completed, instants[1:], side="right")
    count_until[-1:] = len(results)
    fitness = np.array([np.nan if one.fitness is None else one.fitness for one in results])
    best = np.fmax.accumulate(fitness) if len(fitness) else fitness
    return TimeSeries(
        edges[1:],
        np.diff(usage.flops(instants)) / length,
        3600.0 * np.diff(np.concatenate([[0], count_until])) / length,
        np.diff(busy(instants)) / length,
        np.diff(usage.slots(instants)) / length,
        np.array([best[n - 1] if n else np.nan for n in count_until]),
    )
