"""Migration: an island shares the run's budget with the other islands and takes in their networks. Runs on the driver.

Each island writes its status, and reads that of the others, to know how much of the budget is left. A migrant was
trained on another island, for the same problem and with the same budget. It joins the population with the result that
it has, and is not trained again. It is written into the island's own journal before evolution sees it, so that a replay
breeds the same offspring.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from menndl_dask.errors import RunError, UserError
from menndl_dask.evolution.evolution import Optimizer
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.result import Result
from menndl_dask.run.journal import JOURNAL, holder, read_journal
from menndl_dask.run.layout import first_number, folder_of, folders_of
from menndl_dask.run.progress import Counts
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.settings import FILE, Settings, freeze
from menndl_dask.search.islands.status import IslandStatus

_BEAT_S = 5.0  # after which an unchanged status is written again
_SILENT_S = 20.0  # without a new status, after which an island's evaluations in flight do not count any more
_PATIENCE_S = 30.0  # for another driver that is writing the run's settings
_POLL_S = 0.1

logger = logging.getLogger(__name__)


@runtime_checkable
class IslandEvolution(Optimizer, Protocol):
    """An `Optimizer` that takes in migrants, such as `Evolution`; it can drive the search of an island."""

    first: int

    def has_seen(self, genome: Genome) -> bool:
        """Return whether a network was asked for here or taken in."""
        ...

    def add_migrant(self, individual: Individual, result: Result) -> None:
        """Take in a network that was bred and evaluated on another island."""
        ...

    def emigrants(self, count: int) -> list[Evaluation]:
        """Return the best networks that were bred here."""
        ...


def with_migrants(evolution: Optimizer, island: int) -> IslandEvolution:
    """Return the evolution of an island, checked.

    Raises
    ------
    UserError
        If it cannot take in migrants, or would give its individuals the numbers of another island.
    """
    if not isinstance(evolution, IslandEvolution):
        kind = type(evolution).__name__
        raise UserError(f"island: expected an evolution with has_seen, add_migrant, emigrants and first, got {kind}")
    if evolution.first != first_number(island):
        expected = f"expected Evolution(first={first_number(island)}), got first={evolution.first}"
        raise UserError(f"island {island}: {expected}; individuals of two islands must not share numbers")
    return evolution


def prepare_run(run: Path, island: int | None, settings: Settings) -> None:
    """Check that a search belongs in a run directory, and write the run's settings if it is the first island there.

    `run` is the directory of the run with all islands; `island` is None for a search without islands.

    Raises
    ------
    RunError
        If the directory holds islands and the search is none, or the other way round, or has other settings.
    """
    if island is None:
        if folders_of(run):
            raise RunError(f"{run}: holds {len(folders_of(run))} islands; carry on with --islands or --island")
        return
    journal = run / JOURNAL
    if journal.exists() and next(read_journal(journal, "asked"), None) is not None:
        raise RunError(f"{run}: holds a search without islands; give another run directory")
    deadline = time.monotonic() + _PATIENCE_S
    while not (run / FILE).exists():
        try:
            with Recorder(run) as recorder:
                recorder.freeze({key: value for key, value in settings.items() if key != "arguments"})
        except RunError:
            is_coming = holder(run) is not None or (run / FILE).exists()  # another driver writes them
            if not is_coming or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
    freeze(run / FILE, settings)


@dataclass(slots=True)
class _Other:
    status: IslandStatus
    at: float  # monotonic clock when the status last changed


class Migration:
    """One island's side of the exchange with the others.

    Migrants are taken in after `every` so many results; benchmarks/README.md compares values. `count` networks are
    offered to the others. `run` is the directory of the run with all islands; evolution and recorder are the island's.
    """

    def __init__(
        self, run: Path, island: int, evolution: IslandEvolution, recorder: Recorder, *, every: int = 10,
        count: int = 10,
    ) -> None:  # fmt: skip
        self._run, self._island = run, island
        self._every, self._count = every, count
        self._evolution, self._recorder = evolution, recorder
        self.folder = folder_of(run, island)
        self._written = IslandStatus()
        self._written_at = -_BEAT_S
        self._others: dict[int, _Other] = {}
        self._due: int | None = None  # number of results at which migrants are taken in next
        self._turn = island  # the island whose migrants were taken in last

    def claimed(self, now: float) -> int:
        """Return how much of the budget the other islands have spent, or will have with what they have in flight."""
        return sum(
            other.status.results + (other.status.in_flight if now - other.at < _SILENT_S else 0)
            for other in self._others.values()
        )

    def add_migrant(self, migrant: Individual, result: Result) -> None:
        """Take in a migrant that is in the journal already."""
        self._evolution.add_migrant(migrant, result)

    def exchange(self, counts: Counts, in_flight: int, now: float) -> int:
        """Write this island's status, read that of the others, and take in migrants if it is time to; return how many.

        The number of results of the other islands is set in the counts, the progress of this island.
        """
        self._write_status(counts, in_flight, now)
        for number, folder in folders_of(self._run).items():
            status = IslandStatus.read(folder) if number != self._island else None
            if status is not None and (number not in self._others or self._others[number].status != status):
                self._others[number] = _Other(status, now)
        counts.elsewhere = sum(other.status.results for other in self._others.values())
        if self._due is None:  # in step with the earlier driver of a run that is resumed
            self._due = counts.done - counts.done % self._every + self._every
        if counts.done < self._due:
            return 0
        self._due = counts.done + self._every
        migrants = self._new_migrants()
        if migrants:
            self._recorder.migrated(migrants)
            for individual, result in migrants:
                self._evolution.add_migrant(individual, result)
        return len(migrants)

    def announce_end(self, counts: Counts, now: float) -> None:
        """Tell the other islands that no evaluation is in flight here any more."""
        counts.workers = 0
        self._write_status(counts, 0, now)

    def _write_status(self, counts: Counts, in_flight: int, now: float) -> None:
        status = IslandStatus(
            results=counts.done,
            # without workers they may wait for hours: the other islands should rather do them
            in_flight=in_flight if counts.workers else 0,
            workers=counts.workers or 0,
            failures=dict(counts.failures),
            best=counts.best,
            best_id=counts.best_id,
            emigrants=tuple(self._evolution.emigrants(self._count)),
            beat=self._written.beat,
        )
        if status == self._written and now - self._written_at < _BEAT_S:
            return
        self._written, self._written_at = replace(status, beat=status.beat + 1), now
        try:
            self._written.write(self.folder)
        except OSError as error:
            logger.warning("%s: the status for the other islands cannot be written: %s", self.folder, error.strerror)

    def _new_migrants(self) -> Sequence[Evaluation]:
        """Return the emigrants of the next island in turn that offers any that are new here."""
        others = sorted(self._others)
        for number in [n for n in others if n > self._turn] + [n for n in others if n <= self._turn]:
            emigrants = self._others[number].status.emigrants
            known = [(one, result) for one, result in emigrants if not one.genome.unknown_kinds]
            migrants = [(one, result) for one, result in known if not self._evolution.has_seen(one.genome)]
            if migrants:
                self._turn = number
                return migrants
        return ()
