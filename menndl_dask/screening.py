"""Screening: what is remembered of all results, from which it is judged who is worth an evaluation. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.objective import Objectives
from menndl_dask.outlook import FAILURES, POINTS, Entry, Lesson, Outlook, chosen
from menndl_dask.space import SearchSpace

_ENOUGH, _SUCCEEDED = 8, 2  # results, and successes among them, without which nothing is predicted
_FITNESS_ALONE = Objectives()


class Archive:
    """A bounded choice of all results: the best, the latest, and of the others evenly from good to bad."""

    def __init__(self, limit: int = 3 * POINTS) -> None:
        self._limit = limit
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take a result, and thin the others out when there are too many."""
        self.entries.append(entry)
        if len(self.entries) > self._limit:
            older, latest = self.entries[:-FAILURES], self.entries[-FAILURES:]
            succeeded = [e for e in older if e.values is not None]
            failed = [e for e in older if e.values is None]
            room = self._limit // 2 - FAILURES
            kept = {id(e) for e in (*chosen(succeeded, room), *failed[-FAILURES:], *latest)}
            self.entries = [e for e in self.entries if id(e) in kept]


class Screening:
    """Collects results, and renews the outlook with them as often as that tells something new.

    Parameters
    ----------
    space
        Where the genomes are from.
    objectives
        What the search compares, and its hard constraints.

    Attributes
    ----------
    outlook
        What the results let expect; nothing until enough is known. It depends on the order of results and askings only.
    coming
        What takes its place when `renew` is called, where it can wait until then.
    """

    def __init__(self, space: SearchSpace, objectives: Objectives = _FITNESS_ALONE) -> None:
        self.outlook: Outlook | None = None
        self.coming: Outlook | None = None
        self._describe = Descriptor(space)
        self._objectives = objectives
        self._archive = Archive()
        self._told = self._successes = 0
        self._next_outlook = self._next_lesson = 0
        self._lesson: Lesson | None = None

    def tell(self, entry: Entry, flying: Iterable[Genome] = ()) -> None:
        """Take a result. Nothing is computed yet: only what to fit to is put down.

        Parameters
        ----------
        entry
            The result.
        flying
            What is being evaluated.
        """
        self._archive.add(entry)
        self._told += 1
        self._successes += entry.values is not None
        if self._told < _ENOUGH or self._successes < _SUCCEEDED:
            return
        if self._lesson is None or self._told >= self._next_lesson:
            self._lesson = Lesson(list(self._archive.entries), self._describe)
            self._next_lesson = self._told + min(max(5, self._told // 4), 250)
        if self._told >= self._next_outlook:
            entries = list(self._archive.entries)
            given = self._lesson, self._describe, self._objectives
            outlook = Outlook(self._told, entries, *given, tuple(flying))
            if self.outlook is not None and outlook.full:
                self.coming = outlook  # a few results more or less matter little by now: there is time to prepare it
            else:
                self.outlook = outlook
            self._next_outlook = self._told + min(max(1, self._told // 40), 32)

    def renew(self) -> None:
        """Let the coming outlook count: networks were asked for since it was put down, so there was time."""
        if self.coming is not None:
            self.outlook, self.coming = self.coming, None
