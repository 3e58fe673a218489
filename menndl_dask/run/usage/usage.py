"""The use of a run's workers: FLOP/s, time by phase, rates, and what failures and losses cost. Pure.

All figures are measured: sums over the lines of the journal, and quotients of such sums. FLOPs are those of training,
as `menndl_dask.genome.cost` counts them: a multiplication and an addition are two; validations are not counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from menndl_dask.run.usage.cumulative import Cumulative, Elapsed
from menndl_dask.run.usage.energy import Energy, energy_of
from menndl_dask.run.usage.lanes import Lane, lanes_of
from menndl_dask.run.usage.session import Evaluated, Presence, Session

PARTS = ("train", "measure", "build", "data", "start", "checkpoint")  # phases of an evaluation, in this order
OTHER, WAIT, IDLE, WAIT_OR_IDLE = "other", "wait", "idle", "wait or idle"
EARLY = ("pruned", "no_learning")  # failures that saved the rest of a training
_HOUR_S = 3600.0
_WINDOW_S, _WINDOWS = 600.0, 10  # the longest window of the peak, and how many are at least in a run
_CHECK_S = 2.0  # in which the driver notices that workers have joined or left


@dataclass(frozen=True, slots=True)
class Spent:
    """What some evaluations took together."""

    count: int = 0
    seconds: float = 0.0
    flops: float = 0.0

    @classmethod
    def of(cls, evaluated: Sequence[Evaluated]) -> Spent:
        """Return the sums; what was not recorded counts as 0."""
        seconds = sum(one.seconds or 0.0 for one in evaluated)
        return cls(len(evaluated), seconds, sum(one.flops or 0.0 for one in evaluated))


@dataclass(frozen=True)
class Usage:
    """The use of the workers of a run, from its sessions: those of all islands, each with at least one result.

    Parameters
    ----------
    sessions
        In any order.
    retraining
        What the trainings took that are no part of the search: for comparison and for use.
    """

    sessions: tuple[Session, ...]
    retraining: Spent = field(default_factory=Spent)

    @cached_property
    def evaluated(self) -> list[Evaluated]:
        """All results, in the order in which they arrived."""
        return sorted((one for each in self.sessions for one in each.evaluated), key=lambda one: one.completed)

    @cached_property
    def clock(self) -> Elapsed:
        """The time of the run: from the first submission to the last result of each session."""
        return Elapsed.of((each.begin, each.end) for each in self.sessions)

    @property
    def wall_s(self) -> float:
        """Seconds of the run."""
        return self.clock.total

    @cached_property
    def slots(self) -> Cumulative:
        """Seconds of all places for an evaluation, which a worker has one or more of, until a time."""
        return Cumulative.of_steps(step for each in self.sessions for step in _steps(each, "slots"))

    @cached_property
    def nodes(self) -> Cumulative:
        """Seconds of all nodes until a time."""
        return Cumulative.of_steps(step for each in self.sessions for step in _steps(each, "nodes"))

    @property
    def knows_presence(self) -> bool:
        """Whether the number of workers was recorded; if not, those that returned a result are counted."""
        return all(each.presence for each in self.sessions)

    @property
    def knows_begins(self) -> bool:
        """Whether the begin of each evaluation was recorded."""
        return all(each.knows_begins for each in self.sessions)

    @property
    def workers(self) -> float:
        """Mean number of evaluations that the workers could do at the same time."""
        return _quotient(self.slots.total, self.wall_s)

    @property
    def most_workers(self) -> int:
        """Largest number of evaluations that the workers could do at the same time."""
        changes = sorted(step for each in self.sessions for step in _steps(each, "slots"))
        now = most = 0.0
        for _, change in changes:
            now += change
            most = max(most, now)
        return round(most)

    @cached_property
    def lanes(self) -> list[list[Lane]]:
        """The places of each session's workers, from the evaluations that they had."""
        return [lanes_of(each.evaluated) for each in self.sessions]

    # --- FLOP/s ---------------------------------------------------------------------------------------------------

    @cached_property
    def spent(self) -> Spent:
        """What all evaluations took."""
        return Spent.of(self.evaluated)

    @property
    def without_flops(self) -> int:
        """Number of results whose FLOPs of training were not recorded."""
        return sum(one.flops is None for one in self.evaluated)

    @property
    def sustained(self) -> float:
        """FLOPs of training in a second, over the time of the run."""
        return _quotient(self.spent.flops, self.wall_s)

    @property
    def per_worker(self) -> float:
        """FLOPs of training in a second of one place of a worker."""
        return _quotient(self.spent.flops, self.slots.total)

    @property
    def in_training(self) -> float:
        """FLOPs of training in a second of the phase of training alone."""
        return _quotient(self.spent.flops, sum(one.phases.get("train", 0.0) for one in self.evaluated))

    @property
    def by_worker(self) -> dict[str, Spent]:
        """What the evaluations of each worker took."""
        workers: dict[str, list[Evaluated]] = defaultdict(list)
        for one in self.evaluated:
            workers[one.worker].append(one)
        return {worker: Spent.of(each) for worker, each in sorted(workers.items())}

    @cached_property
    def flops(self) -> Cumulative:
        """FLOPs of training until a time; those of an evaluation are spread evenly over it."""
        return Cumulative.of_spans((*span, one.flops or 0.0) for one in self.evaluated if (span := one.span))

    @property
    def window_s(self) -> float:
        """Length of the window of the peak, seconds."""
        return min(_WINDOW_S, self.wall_s / _WINDOWS)

    @property
    def peak(self) -> float:
        """Largest number of FLOPs in a second over any window of that length."""
        return self.flops.peak(self.window_s) if self.window_s > 0 else 0.0

    # --- time -----------------------------------------------------------------------------------------------------

    @cached_property
    def parts(self) -> dict[str, float]:
        """Seconds of all places of workers by what they did; with the part `WAIT_OR_IDLE` where that is all known.

        ``other`` is the time of evaluations in no phase, ``wait`` that between two evaluations of a place, and ``idle``
        that before its first and after its last one.
        """
        phases: Counter[str] = Counter()
        for one in self.evaluated:
            phases.update({name: value for name, value in one.phases.items() if value > 0})
        ordered = {name: phases.pop(name, 0.0) for name in PARTS}
        found = {**ordered, **dict(sorted(phases.items()))}
        found[OTHER] = max(0.0, self.spent.seconds - sum(found.values()))
        rest = max(0.0, self.slots.total - self.spent.seconds)
        if not self.knows_begins:
            return {**found, WAIT_OR_IDLE: rest}
        wait = sum(lane.gaps for each in self.lanes for lane in each)
        return {**found, WAIT: wait, IDLE: max(0.0, rest - wait)}

    @property
    def utilisation(self) -> float:
        """Share of the time of all places in which evaluations ran, 0 to 1."""
        return _quotient(self.spent.seconds, self.slots.total)

    @property
    def tail(self) -> float | None:
        """Share of the time of all places after their last evaluation, while others still ran; None if unknown."""
        if not self.knows_begins:
            return None
        pairs = zip(self.sessions, self.lanes, strict=True)
        left = sum(max(0.0, each.end - lane.end) for each, lanes in pairs for lane in lanes)
        return _quotient(left, self.slots.total)

    @property
    def per_hour(self) -> float:
        """Results in an hour."""
        return _quotient(_HOUR_S * len(self.evaluated), self.wall_s)

    @property
    def generations(self) -> float:
        """Generation equivalents: evaluations divided by the mean number of workers."""
        return _quotient(len(self.evaluated), self.workers)

    # --- what was not for the best network ------------------------------------------------------------------------

    @property
    def by_failure(self) -> dict[str, Spent]:
        """What failed evaluations took, by the kind of failure, the most time first."""
        kinds: dict[str, list[Evaluated]] = defaultdict(list)
        for one in self.evaluated:
            if one.failure is not None:
                kinds[one.failure].append(one)
        found = {kind: Spent.of(each) for kind, each in kinds.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1].seconds))

    @property
    def early(self) -> Spent:
        """What the trainings took that were stopped early."""
        return Spent.of([one for one in self.evaluated if one.failure in EARLY])

    @property
    def early_share(self) -> float | None:
        """Mean share of the budget at which trainings were stopped early; None if there are none that say it."""
        shares = [one.share for one in self.evaluated if one.failure in EARLY and one.share is not None]
        return sum(shares) / len(shares) if shares else None

    @property
    def failed(self) -> Spent:
        """What other failures took."""
        return Spent.of([one for one in self.evaluated if one.failure is not None and one.failure not in EARLY])

    @property
    def losses(self) -> int:
        """Number of evaluations that were lost with their worker, or that a driver or a scheduler lost."""
        return sum(len(each.losses) for each in self.sessions)

    @property
    def lost_s(self) -> float:
        """Seconds that lost evaluations had run, as far as that is known."""
        return sum(loss.seconds or 0.0 for each in self.sessions for loss in each.losses)

    @cached_property
    def energy(self) -> Energy:
        """Energy of the evaluations."""
        return energy_of(self.evaluated)


def _steps(session: Session, what: str) -> list[tuple[float, float]]:
    """Return when the number of places or nodes of a session changed, and by how much."""
    begin, end = session.begin, session.end
    presence = session.presence or [_seen(session)]
    steps, before = [], 0.0
    for number, each in enumerate(presence):
        if each.time >= end:
            break
        now = float(getattr(each, what))
        at = begin if number == 0 and each.time < begin + _CHECK_S else max(begin, each.time)
        steps.append((at, now - before))
        before = now
    return [*steps, (end, -before)]


def _seen(session: Session) -> Presence:
    """Return the workers of a session that have returned a result."""
    lanes = lanes_of(session.evaluated) if session.knows_begins else []
    workers = {one.worker for one in session.evaluated if one.worker}
    nodes = {one.node for one in session.evaluated if one.worker}
    return Presence(session.begin, len(workers), len(lanes) or len(workers) or 1, len(nodes) or 1)


def _quotient(value: float, by: float) -> float:
    return value / by if by > 0 else 0.0


def summary(usage: Usage) -> Mapping[str, float]:
    """Return the figures of a run by their names, for attributes of a data set; those not known are left out."""
    energy = usage.energy
    figures: dict[str, float | None] = {
        "networks": len(usage.evaluated),
        "wall_s": usage.wall_s,
        "workers": usage.workers,
        "worker_s": usage.slots.total,
        "node_s": usage.nodes.total,
        "flops_training": usage.spent.flops,
        "sustained_flops_per_s": usage.sustained,
        "peak_flops_per_s": usage.peak,
        "peak_window_s": usage.window_s,
        "networks_per_hour": usage.per_hour,
        "utilisation": usage.utilisation,
        "generation_equivalents": usage.generations,
        **{f"{name.replace(' ', '_')}_s": seconds for name, seconds in usage.parts.items()},
        "gpu_joules": energy.gpu,
        "cpu_joules": energy.cpu,
    }
    return {name: float(value) for name, value in figures.items() if value is not None}
