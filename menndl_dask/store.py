"""The store: a run's directory, read while it runs, when it is finished and after a crash. Runs on the driver.

The journal is the truth: what a run is asked for is read from it then, so that a run of any length takes no memory.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from menndl_dask import atomic
from menndl_dask.chronicle import JOURNAL as _JOURNAL
from menndl_dask.chronicle import Chronicle, history
from menndl_dask.errors import RunError
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.island import folder_of, folders_of, island_of
from menndl_dask.journal import Event, Journal, read_journal
from menndl_dask.problem import Problem
from menndl_dask.result import Result
from menndl_dask.settings import FILE as _SETTINGS
from menndl_dask.settings import Settings, freeze, read_settings

if TYPE_CHECKING:
    import xarray as xr

STANDARD_ID = -1  # number of the standard network, which no search asks for
_SNAPSHOT, _SPLITS = "run.zarr", "splits.npz"


@dataclass(frozen=True, slots=True)
class Compared:
    """A network that was trained to judge the search's best by, or as a finalist.

    Parameters
    ----------
    name
        What the reader knows it by.
    individual
        The network; the standard one has the number `STANDARD_ID`.
    factor
        Times the budget of the search that it was trained for.
    result
        What came of it.
    """

    name: str
    individual: Individual
    factor: float
    result: Result

    @property
    def is_standard(self) -> bool:
        """Whether this is the network that everybody would have tried first."""
        return self.individual.id == STANDARD_ID


class _Pair(NamedTuple):
    individual: Individual
    result: Result


class Best(_Pair):
    """The fittest individual of a run and its result; unpacks into the two.

    Attributes
    ----------
    path
        Its folder, with ``genome.json`` and ``network.keras``.
    """

    path: Path

    def __new__(cls, individual: Individual, result: Result, path: Path) -> Self:  # noqa: D102  # as the class says
        self = super().__new__(cls, individual, result)
        self.path = path
        return self

    def model(self) -> Any:
        """Return the trained Keras model.

        Raises
        ------
        RunError
            If its weights are not there.
        """
        weights = self.path / "network.keras"
        if not weights.exists():
            raise RunError(f"{weights}: expected the weights of network {self.individual.id}, got no such file")
        import keras

        return keras.saving.load_model(weights)


class Run:
    """A run directory, to be read. `Search.run` returns one. A run of several islands is read as one.

    Parameters
    ----------
    path
        The directory.

    Raises
    ------
    RunError
        If it is no run directory or is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._frozen = read_settings(self.path / _SETTINGS)
        self._chronicle = Chronicle(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def problem(self) -> Problem | None:
        """What the networks are for; nothing where a search had its own evaluation and no data."""
        problem = self._frozen["problem"]
        return None if problem is None else Problem.from_dict(problem)

    @property
    def settings(self) -> Settings:
        """The frozen settings, and ``evaluations``, ``hours`` and ``command`` of the latest start."""
        settings = {key: value for key, value in self._frozen.items() if key not in ("problem", "space")}
        for island, event in self._chronicle.events("started"):
            # how one island is started again is not how all of them are
            passed_over = {"event", "time", "crc"} | (set() if island is None else {"command", "arguments"})
            settings.update({key: value for key, value in event.items() if key not in passed_over})
        return settings

    @property
    def islands(self) -> dict[int, Run]:
        """The run of each island by its number; none where the run is a single search."""
        folders = folders_of(self.path).items()
        return {number: Run(folder) for number, folder in folders if (folder / _SETTINGS).exists()}

    @property
    def migrations(self) -> int:
        """How often an individual was taken in from another island."""
        return sum(1 for _ in self._events("migrated"))

    @property
    def evaluations(self) -> Iterable[Evaluation]:
        """Individuals with their results, in the order in which the results came home; read anew on each pass."""
        return self._chronicle

    @property
    def notes(self) -> list[Mapping[str, Any]]:
        """What happened: mappings with ``time`` (seconds since the epoch) and ``message``."""
        return [
            {"time": event["time"], "message": f"{'' if island is None else f'island {island}: '}{event['message']}"}
            for island, event in self._chronicle.events("note")
        ]

    @property
    def told_at(self) -> dict[int, float]:
        """For each individual's number when its result came home, seconds since the epoch."""
        return {event["id"]: event["time"] for event in self._events("told")}

    @property
    def comparisons(self) -> list[Compared]:
        """Networks that were trained for comparison; of equal ones trained equally long the latest, in order."""
        latest: dict[tuple[int, float], Compared] = {}
        for event in self._events("compared"):
            individual = Individual.from_dict(event["individual"])
            key = (individual.id, event["factor"])
            latest.pop(key, None)
            latest[key] = Compared(event["name"], individual, event["factor"], Result.from_dict(event["result"]))
        return list(latest.values())

    @property
    def alike(self) -> list[Compared]:
        """The finalists that were trained last, and the standard network trained as long; the fittest first."""
        comparisons = self.comparisons
        factor = next((c.factor for c in reversed(comparisons) if not c.is_standard), None)
        alike = [c for c in comparisons if c.factor == factor]
        return sorted(alike, key=lambda c: math.inf if c.result.fitness is None else -c.result.fitness)

    @property
    def standard(self) -> Compared | None:
        """The standard network at the search's own budget; None if it was not trained."""
        return next((c for c in self.comparisons if c.is_standard and c.factor == 1), None)

    def best(self) -> Best:
        """Return the fittest individual, of equals the one that was first home, and its result.

        Raises
        ------
        RunError
            If no evaluation has succeeded yet; the message says how they failed.
        """
        best: Evaluation | None = None
        failures: Counter[str] = Counter()
        for individual, result in self.evaluations:
            if result.fitness is None:
                failures[result.failure or ""] += 1
            elif best is None or result.fitness > (best[1].fitness or 0.0):
                best = individual, result
        if best is None:
            told = ", ".join(f"{count} × {kind}" for kind, count in failures.most_common())
            raise RunError(f"{self.path}: no network has succeeded yet{f': {told}' if told else ''}")
        home = folder_of(self.path, island_of(best[0])) if folders_of(self.path) else self.path
        return Best(*best, (home / "networks" / best[0].name).resolve())

    def to_xarray(self) -> xr.Dataset:
        """Return every evaluation: fitness, costs, times, curves, lineage; see `menndl_dask.snapshot`."""
        from menndl_dask.snapshot import dataset

        return dataset(self.evaluations, self.told_at, self._objectives, {"run": self.path.name})

    def write_snapshot(self) -> Path:
        """Write `to_xarray` as ``run.zarr`` and return its path; what stood there is replaced."""
        from menndl_dask.snapshot import write_dataset

        path = self.path / _SNAPSHOT
        write_dataset(path, self.evaluations, self.told_at, self._objectives, {"run": self.path.name})
        return path

    def compare(self, compared: Compared) -> None:
        """Record a network that was trained for comparison; a later result of an equal training takes its place."""
        with Recorder(self.path) as recorder:
            recorder.compared(compared)

    def note(self, message: str) -> None:
        """Record that something happened."""
        with Recorder(self.path) as recorder:
            recorder.note(message)

    @property
    def _objectives(self) -> Sequence[str]:
        return self.problem.objectives if self.problem is not None else ("fitness",)

    def _events(self, kind: str) -> Iterator[Event]:
        return (event for _, event in self._chronicle.events(kind))


class Recorder:
    """A run while a driver writes it; one driver at a time.

    Parameters
    ----------
    path
        The run directory; made if need be.

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
        """Write the run's settings, or see that they are those of the run that is there.

        Raises
        ------
        RunError
            If the run there is for another search.
        """
        path = self.path / _SETTINGS
        if not path.exists() and next(self.history(), None) is not None:
            raise RunError(f"{path}: expected the settings of the run, got no such file; restore it from a copy")
        changes = freeze(path, settings)
        if changes:
            self.note(f"settings that differ from the run's first start: {'; '.join(changes)}")

    def keep_splits(self, splits: Mapping[str, Any]) -> None:
        """Write the positions of each split as ``splits.npz``, or see that they are those that are there.

        Raises
        ------
        RunError
            If the data would be split in another way than when the run began.
        """
        path = self.path / _SPLITS
        if not path.exists():
            with atomic.replacing(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, **splits)
            return
        with np.load(path) as there:
            differing = [name for name in splits if name not in there or not np.array_equal(there[name], splits[name])]
        if differing:
            told = ", ".join(differing)
            raise RunError(f"{path}: the data is split in another way now: {told}; give another run directory")

    def history(self) -> Iterator[tuple[Individual, Result | None]]:
        """Yield what was asked (without a result), told (with it) and taken in (with it, not asked), in order."""
        return history(self.path / _JOURNAL)

    def seconds_spent(self) -> float:
        """Return how long drivers have searched in this run, all starts together."""
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
        """Record the start of a driver and what it was asked for."""
        self._append([{"event": "started", "time": _now(), **settings}])

    def ended(self) -> None:
        """Record the end of a driver."""
        self._append([{"event": "ended", "time": _now()}])

    def asked(self, individuals: Iterable[Individual]) -> None:
        """Record individuals that are about to be submitted; not waited for, since asking again gives the same."""
        events = [{"event": "asked", "time": _now(), "individual": individual.to_dict()} for individual in individuals]
        self._append(events, flush=False)

    def told(self, evaluations: Iterable[Evaluation]) -> None:
        """Record results, on the disk when this returns."""
        self._append([_told(individual, result) for individual, result in evaluations])

    def migrated(self, migrants: Iterable[Evaluation]) -> None:
        """Record individuals that are about to be taken in from another island."""
        self._append(
            [
                {"event": "migrated", "time": _now(), "individual": one.to_dict(), "result": result.to_dict()}
                for one, result in migrants
            ]
        )

    def note(self, message: str) -> None:
        """Record that something happened."""
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
        """Let other drivers in."""
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
