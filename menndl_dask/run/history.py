"""The history of a run: the journals of the run and of its islands, merged by time. Runs on the driver.

Each pass reads the journals again, one event at a time, so that memory does not grow with the length of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, overload

from menndl_dask.errors import RunError, one_line, reading
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.journal import JOURNAL, Event, read_journal, written
from menndl_dask.run.layout import folders_of
from menndl_dask.text import counted

# what an event has, beside its time, that is read as it is
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "told": {"id": int}, "note": {"message": str},
    "compared": {"name": str, "individual": dict, "factor": (int, float), "result": dict},
    "contender": {"name": str, "individual": dict, "factor": (int, float), "result": dict, "seed": int},
    "final": {"name": str, "individual": dict, "factor": (int, float), "result": dict, "seed": int},
    "measured": {"individual": dict, "costs": dict}, "forecast": {"forecast": dict},
}  # fmt: skip


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

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> Evaluation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Evaluation]: ...
    def __getitem__(self, index: int | slice) -> Evaluation | list[Evaluation]:
        """Return the evaluation at a place in the order of arrival, -1 for the latest; or those of a slice."""
        if isinstance(index, int) and index >= 0:
            for found in islice(self, index, None):
                return found
            raise IndexError(f"evaluation {index}: the run has {len(self)}")
        return [*iter(self)][index]

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'evaluation')} of {self._run}>"

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
    known_results: set[int] = set()
    unasked: set[int] = set()  # individuals that are only in their results
    for event in read_journal(path, *kinds) if path.exists() else ():
        try:
            entries = list(_entries_of(event, in_flight, known_results, unasked))
        except Exception as error:
            what = f"has an event {event['event']!r} that cannot be understood: {one_line(error)}{written(path)}"
            raise RunError(f"{path}: {what}") from error
        yield from entries


def _entries_of(
    event: Event, in_flight: dict[int, Individual], known_results: set[int], unasked: set[int]
) -> Iterator[_Entry]:
    """Yield the entries of an event: of a result whose network was not asked for, as the line is lost, two."""
    result = Result.from_dict(event["result"]) if "result" in event else None
    time = float(event["time"])
    if event["event"] == "asked":
        individual = Individual.from_dict(event["individual"])
        if individual.id in unasked:  # the line was found again, such as in a saved file
            unasked.remove(individual.id)
            return
        in_flight[individual.id] = individual
        known_results.discard(individual.id)
        yield _Entry(time, individual, None)
    elif event["event"] == "migrated":
        yield _Entry(time, Individual.from_dict(event["individual"]), result)
    elif event["id"] not in known_results:
        known = in_flight.pop(event["id"], None)
        if known is None and "individual" in event:
            known = Individual.from_dict(event["individual"])
            unasked.add(known.id)
            yield _Entry(time, known, None)
        if known is not None:
            known_results.add(event["id"])
            yield _Entry(time, known, result)


def _events(island: int | None, path: Path, kinds: tuple[str, ...]) -> Iterator[tuple[int | None, Event]]:
    for event in read_journal(path, *kinds) if path.exists() else ():
        kind = event["event"]
        for name, expected in {"time": (int, float), **_VALUES.get(kind, {})}.items():
            if not isinstance(event.get(name), expected):
                what = f"has an event {kind!r} without {name}, or with another one than expected"
                raise RunError(f"{path}: {what}{written(path)}")
        yield island, event
