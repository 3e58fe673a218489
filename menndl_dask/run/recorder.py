"""The recorder of a run: what a driver writes into the run directory. Runs on the driver."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from menndl_dask import files
from menndl_dask.errors import RunError
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.history import JOURNAL as _JOURNAL
from menndl_dask.run.history import replay
from menndl_dask.run.journal import Event, Journal, read_journal
from menndl_dask.run.settings import FILE as _SETTINGS
from menndl_dask.run.settings import Settings, freeze

STANDARD_ID = -1  # id of the standard network, which no search asks for
_SPLITS = "splits.npz"


@dataclass(frozen=True, slots=True)
class Compared:
    """A network that was trained for comparison: a finalist or the standard network.

    Parameters
    ----------
    name
        Name for reports.
    individual
        The network; the standard one has the id `STANDARD_ID`.
    factor
        Budget of its training, as a multiple of the search's.
    result
        Result of its training.
    """

    name: str
    individual: Individual
    factor: float
    result: Result

    @property
    def is_standard(self) -> bool:
        """Whether this is the standard network."""
        return self.individual.id == STANDARD_ID


class Recorder:
    """Writes a run directory; one driver at a time.

    Parameters
    ----------
    path
        The run directory; created if missing.

    Raises
    ------
    RunError
        If another driver holds the run, it is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path}: cannot be made: {error.strerror}") from error
        self._journal = Journal(path / _JOURNAL)
        if self._journal.dropped:
            self.note(f"the journal ended in a torn line; {self._journal.dropped} bytes were dropped")

    def freeze(self, settings: Settings) -> None:
        """Write the run's settings, or check that they agree with those that exist.

        Raises
        ------
        RunError
            If the directory is that of another search.
        """
        path = self.path / _SETTINGS
        if not path.exists() and next(self.history(), None) is not None:
            raise RunError(f"{path}: expected the settings of the run, got no such file; restore it from a copy")
        changes = freeze(path, settings)
        if changes:
            self.note(f"settings that differ from the run's first start: {'; '.join(changes)}")

    def keep_splits(self, splits: Mapping[str, Any]) -> None:
        """Write the positions of each split as ``splits.npz``, or check that they equal those that exist.

        Raises
        ------
        RunError
            If the data is split in another way than when the run began.
        """
        path = self.path / _SPLITS
        if not path.exists():
            with files.replacing(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, **splits)
            return
        with np.load(path) as there:
            differing = [name for name in splits if name not in there or not np.array_equal(there[name], splits[name])]
        if differing:
            told = ", ".join(differing)
            raise RunError(f"{path}: the data is split in another way now: {told}; give another run directory")

    def history(self) -> Iterator[tuple[Individual, Result | None]]:
        """Yield individuals in order: asked (result None), told and migrated (with their results)."""
        return replay(self.path / _JOURNAL)

    def seconds_spent(self) -> float:
        """Return the seconds that drivers have searched in this run, all starts together."""
        total, begun, last = 0.0, None, 0.0
        for event in read_journal(self._journal.path):
            if event["event"] == "started":
                total += last - begun if begun is not None else 0.0
                begun = event["time"]
            elif event["event"] == "ended" and begun is not None:
                total += event["time"] - begun
                begun = None
            last = event["time"]
        return total + (last - begun if begun is not None else 0.0)

    def started(self, **settings: Any) -> None:
        """Record the start of a driver and its settings."""
        self._append([{"event": "started", "time": _now(), **settings}])

    def ended(self) -> None:
        """Record the end of a driver."""
        self._append([{"event": "ended", "time": _now()}])

    def asked(self, individuals: Iterable[Individual]) -> None:
        """Record individuals before they are submitted; not flushed, since asking again gives the same."""
        events = [{"event": "asked", "time": _now(), "individual": individual.to_dict()} for individual in individuals]
        self._append(events, flush=False)

    def told(self, evaluations: Iterable[Evaluation]) -> None:
        """Record results; they are on the disk when this returns."""
        self._append([_told(individual, result) for individual, result in evaluations])

    def migrated(self, migrants: Iterable[Evaluation]) -> None:
        """Record individuals from another island before they enter the population."""
        self._append(
            [
                {"event": "migrated", "time": _now(), "individual": one.to_dict(), "result": result.to_dict()}
                for one, result in migrants
            ]
        )

    def note(self, message: str) -> None:
        """Record a note."""
        self._append([{"event": "note", "time": _now(), "message": message}])

    def compared(self, compared: Compared) -> None:
        """Record a network that was trained for comparison."""
        event = {
            "event": "compared",
            "time": _now(),
            "name": compared.name,
            "individual": compared.individual.to_dict(),
            "factor": compared.factor,
            "result": compared.result.to_dict(),
        }
        self._append([event])

    def close(self) -> None:
        """Release the run for other drivers."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _append(self, events: Sequence[Mapping[str, Any]], *, flush: bool = True) -> None:
        self._journal.append(events, flush=flush)


def _told(individual: Individual, result: Result) -> Event:
    return {"event": "told", "time": _now(), "id": individual.id, "result": result.to_dict()}


def _now() -> float:
    return round(time.time(), 3)
