"""The places in which workers evaluate, one evaluation after the other, found from begins and ends. Pure.

Most workers have one place. A worker of a whole node has one for each of its GPUs, and the journal does not say which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from menndl_dask.run.usage.session import Evaluated

_TOLERANCE_S = 0.02  # by which two evaluations of a place may seem to overlap: a begin is rounded


@dataclass(slots=True)
class Lane:
    """One place of a worker: how long it was busy between its first and its last evaluation."""

    worker: str
    begin: float
    end: float
    busy: float = 0.0

    @property
    def extent(self) -> float:
        """Seconds from the begin of the first evaluation to the end of the last one."""
        return self.end - self.begin

    @property
    def gaps(self) -> float:
        """Seconds between its evaluations."""
        return max(0.0, self.extent - self.busy)


def lanes_of(evaluated: Iterable[Evaluated]) -> list[Lane]:
    """Return the places that evaluations of one session had; those without times or worker are passed over.

    >>> spans = [(0.0, 4.0), (5.0, 6.0), (2.0, 8.0)]
    >>> each = [Evaluated(n, end, begin, end - begin, worker="w:1") for n, (begin, end) in enumerate(spans)]
    >>> [(lane.begin, lane.end, lane.gaps) for lane in lanes_of(each)]
    [(0.0, 6.0, 1.0), (2.0, 8.0, 0.0)]
    """
    lanes: dict[str, list[Lane]] = defaultdict(list)
    for one in sorted(evaluated, key=lambda one: one.span or (0.0, 0.0)):
        if one.span is None or not one.worker:
            continue
        begin, end = one.span
        free = [lane for lane in lanes[one.worker] if lane.end <= begin + _TOLERANCE_S]
        if free:
            lane = max(free, key=lambda lane: lane.end)
        else:
            lane = Lane(one.worker, begin, begin)
            lanes[one.worker].append(lane)
        lane.busy += end - begin
        lane.end = max(lane.end, end)
    return [lane for each in lanes.values() for lane in each]
