"""The use of a run's workers, read from its journals. Runs on the driver."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from menndl_dask.errors import RunError, reading
from menndl_dask.result import Result
from menndl_dask.run.history import History
from menndl_dask.run.journal import Event
from menndl_dask.run.usage.session import Evaluated, Loss, Presence, Session
from menndl_dask.run.usage.usage import Spent, Usage

_TRAININGS = ("compared", "contender", "final")


def read_usage(run: Path) -> Usage:
    """Return the use of the workers of a run, of one search or of several islands.

    Raises
    ------
    RunError
        If a journal cannot be read or understood.
    """
    sessions: dict[int | None, list[Session]] = defaultdict(list)
    known: dict[int | None, set[int]] = defaultdict(set)
    retrained: list[Evaluated] = []
    with reading(run, RunError):
        for island, event in History(run).events("started", "asked", "told", "workers", "lost", *_TRAININGS):
            if event["event"] in _TRAININGS:
                retrained.append(Evaluated.of(-1, float(event["time"]), Result.from_dict(event["result"])))
                continue
            if event["event"] == "started" or not sessions[island]:
                sessions[island].append(Session(island))
            _add(sessions[island][-1], event, known[island])
    found = tuple(session for each in sessions.values() for session in each if session.evaluated)
    return Usage(found, Spent.of(retrained))


def _add(session: Session, event: Event, known: set[int]) -> None:
    kind, time = event["event"], float(event["time"])
    if kind == "asked" and session.asked is None:
        session.asked = time
    elif kind == "told" and event["id"] not in known:  # a line may stand in a journal twice, such as after a repair
        known.add(event["id"])
        session.evaluated.append(Evaluated.of(event["id"], time, Result.from_dict(event["result"])))
    elif kind == "workers":
        session.presence.append(Presence(time, int(event["workers"]), int(event["slots"]), int(event["nodes"])))
    elif kind == "lost":
        session.losses.append(Loss(time, int(event["id"]), event.get("seconds")))
