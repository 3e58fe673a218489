"""What a journal tells of the use of workers: evaluations with their times, by start of the driver. Pure.

A session is the time from the first submission of a driver to its last result. A run that was resumed has several; what
lies between them is no time of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from menndl_dask.result import Result

# what version 0.1.0 could do while its worker trained another network; it then waited
_PREPARED = ("start", "data", "build", "wait")
_SCHEME = "://"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One result of a journal. Times are in seconds, instants in seconds since the epoch; None is not recorded.

    Parameters
    ----------
    number
        Number of the individual.
    completed
        When the driver wrote the result.
    began
        When the worker began, by the worker's clock.
    seconds
        For how long the evaluation had its worker.
    phases
        Seconds of each phase of it.
    worker
        Address of the worker; empty if unknown.
    flops
        Floating-point operations of training.
    fitness, failure
        Of the result.
    share
        Share of the budget (0 to 1) at the last validation.
    gpu_joules, cpu_joules
        Energy of its GPU, and of the processors of its node while it ran.
    """

    number: int
    completed: float
    began: float | None = None
    seconds: float | None = None
    phases: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    flops: float | None = None
    fitness: float | None = None
    failure: str | None = None
    share: float | None = None
    gpu_joules: float | None = None
    cpu_joules: float | None = None

    @classmethod
    def of(cls, number: int, completed: float, result: Result) -> Evaluated:
        """Return what a result tells."""
        phases = {name: value for name, value in result.times.items() if name != "total"}
        seconds = result.times.get("total")
        if result.began is None and "wait" in phases and seconds is not None:
            seconds -= sum(phases.pop(name, 0.0) for name in _PREPARED)
        costs, share = result.costs, result.curve[-1].get("share") if result.curve else None
        return cls(
            number, completed, result.began, seconds, phases, result.worker, costs.get("flops_training"),
            result.fitness, result.failure, share, costs.get("gpu_joules"), costs.get("cpu_joules"),
        )  # fmt: skip

    @property
    def span(self) -> tuple[float, float] | None:
        """Its begin and end; without a recorded begin as if it had ended when its result was written."""
        if self.seconds is None:
            return None
        begin = self.completed - self.seconds if self.began is None else self.began
        return begin, begin + self.seconds

    @property
    def node(self) -> str:
        """The host of its worker.

        >>> Evaluated(0, 0.0, worker="tcp://10.0.0.7:40001").node
        '10.0.0.7'
        """
        return self.worker.rpartition(_SCHEME)[2].rpartition(":")[0]


class Presence(NamedTuple):
    """How many workers are there from an instant on."""

    time: float
    workers: int
    slots: int  # evaluations that they can do at the same time
    nodes: int


class Loss(NamedTuple):
    """An evaluation that was lost with its worker, or given up, and submitted again or failed."""

    time: float
    number: int
    seconds: float | None  # for which it had run; None if that is not known


@dataclass(slots=True)
class Session:
    """One start of a driver."""

    island: int | None = None
    asked: float | None = None  # first submission
    evaluated: list[Evaluated] = field(default_factory=list)
    presence: list[Presence] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    @property
    def begin(self) -> float:
        """The first submission; of networks that an earlier driver had asked for, when the first one began."""
        begins = [span[0] for one in self.evaluated if (span := one.span) is not None]
        return min([*begins, *([] if self.asked is None else [self.asked]), self.end])

    @property
    def end(self) -> float:
        """The last result."""
        return max(one.completed for one in self.evaluated)

    @property
    def knows_begins(self) -> bool:
        """Whether the begin of each evaluation was recorded."""
        return all(one.began is not None and one.seconds is not None for one in self.evaluated)
