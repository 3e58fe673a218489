"""The history of a run: the journals of the run and of its islands, merged by time. Runs on the driver.

Each pass reads the journals again, one event at a time, so that memory does not grow with the length of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from menndl_dask.errors import RunError, reading
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.journal import Event, read_journal
from menndl_dask.run.layout import folders_of

JOURNAL = "journal.jsonl"


class _Entry(NamedTuple):
    time: float
    individual: Individual
    result: Result | None


class History:
    """What happened in a run of one search or of several islands."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def __iter__(self) -> Iterator[Evaluation]:
        """Yield individuals with their results, in the order in which the results arrived."""
        folders = (self._run, *folders_of(self._run).values())
        each = (_entries(folder / JOURNAL, "asked", "told") for folder in folders)
        with reading(self._run, RunError):  # times that cannot be compared
            for entry in merge(*each, key=attrgetter("time")):
                if entry.result is not None:
                    yield entry.individual, entry.result

    def events(self, *kinds: str) -> Iterator[tuple[int | None, Event]]:
        """Yield the events of these kinds, each with the number of its island; None for events of the whole run."""
        own = _events(None, self._run / JOURNAL, kinds)
        each = [_events(island, folder / JOURNAL, kinds) for island, folder in folders_of(self._run).items()]
        with reading(self._run, RunError):
            yield from merge(own, *each, key=lambda pair: pair[1]["time"])


def replay(path: Path) -> Iterator[tuple[Individual, Result | None]]:
    """Yield the individuals of a journal in order: asked (result None), told and migrated (with their results).

    A migrant, which came from another island, was not asked before.
    """
    return ((entry.individual, entry.result) for entry in _entries(path, "asked", "told", "migrated"))


def _entries(path: Path, *kinds: str) -> Iterator[_Entry]:
    """Yield the events of these kinds with their individuals."""
    in_flight: dict[int, Individual] = {}
    with reading(path, RunError):  # an event that lacks what it must have
        for event in read_journal(path, *kinds) if path.exists() else ():
            result = Result.from_dict(event["result"]) if "result" in event else None
            if event["event"] != "told":
                individual = Individual.from_dict(event["individual"])
                if result is None:
                    in_flight[individual.id] = individual
                yield _Entry(event["time"], individual, result)
            elif event["id"] in in_flight:
                yield _Entry(event["time"], in_flight.pop(event["id"]), result)


def _events(island: int | None, path: Path, kinds: tuple[str, ...]) -> Iterator[tuple[int | None, Event]]:
    for event in read_journal(path, *kinds) if path.exists() else ():
        yield island, event
