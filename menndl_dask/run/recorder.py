"""The recorder of a run: what a driver writes into the run directory. Runs on the driver."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from menndl_dask import __version__, files
from menndl_dask.errors import RunError, one_line
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.history import replay
from menndl_dask.run.journal import FORMAT, Event, Journal, read_journal
from menndl_dask.run.journal import JOURNAL as _JOURNAL
from menndl_dask.run.journal_repair import SAVED
from menndl_dask.run.layout import folder_of, folders_of, island_of, whole_run
from menndl_dask.run.settings import FILE as _SETTINGS
from menndl_dask.run.settings import Settings, freeze

logger = logging.getLogger(__name__)

CONTENDERS = "contenders"  # folder of a run, for `menndl compare`
STANDARD_ID = -1  # id of the standard network, which no search asks for
_SPLITS = "splits.npz"
_LEFT_S = 3600.0  # after which what a killed process has left is removed


@dataclass(frozen=True, slots=True)
class Compared:
    """A network that was trained for comparison or for use: a finalist, the standard network, or one with a seed."""

    name: str  # for reports
    individual: Individual  # the standard network has the id `STANDARD_ID`
    factor: float  # budget of its training, as a multiple of the search's; 0: as the search has trained it
    result: Result
    seed: int | None = None  # of one of several trainings; None for that of the problem
    is_final: bool = False  # trained on the training and the validation split, so that its fitness says nothing

    @property
    def is_standard(self) -> bool:
        """Whether this is the standard network."""
        return self.individual.id == STANDARD_ID

    def path(self, run: Path) -> Path:
        """Return the path of the trained network in a run directory."""
        folder = folder_of(run, island_of(self.individual)) if self.factor == 0 and folders_of(run) else run
        folder = folder / "standard" if self.is_standard else folder / "networks" / self.individual.name
        if self.factor == 0:
            return folder / "network.keras"
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return folder / f"{'final' if self.is_final else 'trained'}-{self.factor:g}{seed}.keras"

    def sums_path(self, run: Path) -> Path:
        """Return the path in a run directory of what its test score is computed from, sample by sample."""
        if self.seed is not None:
            return run / CONTENDERS / f"{self.individual.genome.key}-{self.factor:g}-{self.seed}.test.npz"
        network = self.path(run)
        return network.with_name(f"{network.stem}.test.npz")

    def examples_path(self, run: Path) -> Path:
        """Return the path in a run directory of pictures of some samples of the test split, and their predictions."""
        sums = self.sums_path(run)
        return sums.with_name(f"{sums.name.removesuffix('.test.npz')}.examples.npz")


def evolved(compared: Iterable[Compared]) -> list[Compared]:
    """Return those that the search has found: neither the standard network nor that under another number."""
    each = list(compared)
    standard = {c.individual.genome.key for c in each if c.is_standard}
    return [c for c in each if c.individual.genome.key not in standard]


class Recorder:
    """Writes a run directory, which is created if it does not exist; one driver at a time.

    Raises
    ------
    RunError
        If another driver holds the run, it is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            files.new_folder(path)
            files.check_folders(path / _JOURNAL, whole_run(path))
            _check_journal(path)
        except OSError as error:
            raise RunError(f"{path}: cannot be made: {error.strerror}") from error
        self._journal = Journal(path / _JOURNAL)
        for done in self._journal.repairs:
            logger.warning("%s: %s", path, done)
            self.note(done)
        files.sweep(path, older_s=_LEFT_S)

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

        Where images are divided, these are positions of the regions, which are written too.

        Raises
        ------
        RunError
            If the data is split in another way than when the run began.
        """
        path = self.path / _SPLITS
        if not os.path.lexists(path):
            try:
                with files.replacing(path) as partial, os.fdopen(files.create(partial), "wb") as file:
                    np.savez_compressed(file, **splits)
            except OSError as error:
                raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
            return
        differing = _differing_splits(path, splits)
        if differing:
            names = ", ".join(differing)
            raise RunError(f"{path}: the data is split in another way now: {names}; give another run directory")

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

    def check(self) -> None:
        """Check that the journal is still in its place, and as this driver left it; raises `JournalError`."""
        self._journal.check()

    def started(self, **settings: Any) -> None:
        """Record the start of a driver and its settings."""
        self._journal.append([_event("started", format=FORMAT, version=__version__, **settings)])

    def ended(self) -> None:
        """Record the end of a driver, unless its last event could not be recorded."""
        if not self._journal.has_failed:
            self._journal.append([_event("ended")])

    def asked(self, individuals: Iterable[Individual]) -> None:
        """Record individuals before they are submitted; not flushed, since no result of them is known yet."""
        self._journal.append([_event("asked", individual=one.to_dict()) for one in individuals], flush=False)

    def completed(self, evaluations: Iterable[Evaluation]) -> None:
        """Record results; they are on the disk when this returns.

        Each has its individual too: the line that asked for it may be damaged one day.
        """
        self._journal.append(
            [
                _event("told", id=one.id, result=result.to_dict(), individual=one.to_dict())
                for one, result in evaluations
            ]
        )

    def migrated(self, migrants: Iterable[Evaluation]) -> None:
        """Record individuals from another island before they enter the population."""
        self._journal.append(
            [_event("migrated", individual=one.to_dict(), result=result.to_dict()) for one, result in migrants]
        )

    def note(self, message: str) -> None:
        """Record a note."""
        self._journal.append([_event("note", message=message)])

    def present(self, workers: int, slots: int, nodes: int) -> None:
        """Record how many workers there are now, what they can evaluate at a time, and on how many nodes they are."""
        self._journal.append([_event("workers", workers=workers, slots=slots, nodes=nodes)], flush=False)

    def lost(self, losses: Iterable[tuple[int, float | None]]) -> None:
        """Record evaluations that were lost, by the number of the network, with the seconds that they had run."""
        events = [_event("lost", id=number, seconds=seconds) for number, seconds in losses]
        self._journal.append(events, flush=False)

    def forecast(self, forecast: Mapping[str, Any]) -> None:
        """Record what the search is expected to cost."""
        self._journal.append([_event("forecast", forecast=dict(forecast))])

    def compared(self, compared: Compared) -> None:
        """Record a network that was trained for comparison, or for use."""
        individual, result = compared.individual.to_dict(), compared.result.to_dict()
        kind, more = ("compared", {}) if compared.seed is None else ("contender", {"seed": compared.seed})
        kind = "final" if compared.is_final else kind
        given = {"name": compared.name, "individual": individual, "factor": compared.factor, **more}
        self._journal.append([_event(kind, **given, result=result)])

    def measured(self, individual: Individual, costs: Mapping[str, float]) -> None:
        """Record what the predictions of a network cost, measured alone."""
        self._journal.append([_event("measured", individual=individual.to_dict(), costs=dict(costs))])

    def close(self) -> None:
        """Release the run for other drivers."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_journal(run: Path) -> None:
    """Check that a run with networks has its journal; a new one would have them removed."""
    names = (_JOURNAL, SAVED)
    if any(path.name.startswith(names) and ".dropped-" not in path.name for path in run.iterdir()):
        return
    if next((run / "networks").glob("*/genome.json"), None) is not None:
        wanted = "expected the journal of these networks, got no such file"
        raise RunError(f"{run / _JOURNAL}: {wanted}; restore it from a copy, or remove the networks to begin anew")


def _differing_splits(path: Path, splits: Mapping[str, Any]) -> list[str]:
    """Return the names of the splits that are not as in a file."""
    try:
        with os.fdopen(files.open_regular(path), "rb") as file, np.load(file) as there:
            return [name for name in splits if name not in there or not np.array_equal(there[name], splits[name])]
    except Exception as error:
        again = "restore it from a copy, or remove it and it is written again"
        raise RunError(f"{path}: cannot be read: {one_line(error)}; {again}") from error


def _event(kind: str, **values: Any) -> Event:
    return {"event": kind, "time": round(time.time(), 3), **values}
