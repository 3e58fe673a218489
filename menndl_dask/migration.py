"""Migration: what an island hears from the others, and which of their networks it takes in. Runs on the driver.

The islands share the run's budget by what each tells of itself. A migrant was trained elsewhere, for the same problem
and with the same budget: it is not trained again, but becomes a member with the result that it has. It is in the
island's own journal before evolution hears of it, so that a replayed journal breeds the same children.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from menndl_dask.chronicle import JOURNAL
from menndl_dask.errors import RunError, UserError
from menndl_dask.evolution import Optimizer
from menndl_dask.genome import Genome
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.island import IslandStatus, first_number, folder_of, folders_of
from menndl_dask.journal import holder, read_journal
from menndl_dask.progress import Counts
from menndl_dask.result import Result
from menndl_dask.settings import FILE, Settings, freeze
from menndl_dask.store import Recorder

_BEAT_S = 5.0  # an island that has no news says so as often
_SILENT_S = 20.0  # without a sign of life until an island's evaluations in flight are given to others
_PATIENCE_S = 30.0  # for another driver that is writing the run's settings
_POLL_S = 0.1

logger = logging.getLogger(__name__)


@runtime_checkable
class IslandEvolution(Optimizer, Protocol):
    """What can drive the search of an island: an `Optimizer` that takes migrants in, such as `Evolution`."""

    first: int

    def has_seen(self, genome: Genome) -> bool:
        """Tell whether a network was asked for or welcomed."""
        ...

    def add_migrant(self, individual: Individual, result: Result) -> None:
        """Take in a network that was bred and evaluated on another island."""
        ...

    def emigrants(self, count: int) -> list[Evaluation]:
        """Return the best networks that were bred here."""
        ...


def with_migrants(evolution: Optimizer, island: int) -> IslandEvolution:
    """Return what drives an island's search, if it can.

    Raises
    ------
    UserError
        If it cannot take migrants in, or would give its individuals the numbers of another island.
    """
    if not isinstance(evolution, IslandEvolution):
        kind = type(evolution).__name__
        raise UserError(f"island: expected an evolution with knows, welcome, emigrants and first, got {kind}")
    if evolution.first != first_number(island):
        told = f"expected Evolution(first={first_number(island)}), got first={evolution.first}"
        raise UserError(f"island {island}: {told}; individuals of two islands must not share numbers")
    return evolution


def prepare_run(run: Path, island: int | None, settings: Settings) -> None:
    """Make sure that a search belongs in a run directory: an island among islands, a single search alone.

    Parameters
    ----------
    run
        The directory of the whole run.
    island
        Number of the island; nothing for a search without others.
    settings
        What is searched for; written into the run by the island that is the first.

    Raises
    ------
    RunError
        If it does not.
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
class _Heard:
    news: IslandStatus
    at: float  # clock reading when it last changed


class Migration:
    """An island's side of the exchange with the others.

    Parameters
    ----------
    run
        The directory of the whole run.
    island
        Its number.
    evolution
        Takes the migrants in.
    recorder
        Of the island's own journal.
    every
        Results at home between two times that migrants are taken in; benchmarks/README.md compares.
    count
        Networks that an island offers: a third of a population.
    """

    def __init__(
        self,
        run: Path,
        island: int,
        evolution: IslandEvolution,
        recorder: Recorder,
        *,
        every: int = 10,
        count: int = 10,
    ) -> None:
        self._run, self._island = run, island
        self._every, self._count = every, count
        self._evolution, self._recorder = evolution, recorder
        self._folder = folder_of(run, island)
        self._said = IslandStatus()
        self._said_at = -_BEAT_S
        self._heard: dict[int, _Heard] = {}
        self._due: int | None = None  # results at home when migrants are taken in next
        self._turn = island  # whose migrants were taken in last

    def claimed(self, now: float) -> int:
        """Return how much of the run's budget the other islands have spent, or will have with what is in flight."""
        return sum(h.news.told + (h.news.in_flight if now - h.at < _SILENT_S else 0) for h in self._heard.values())

    def add_migrant(self, migrant: Individual, result: Result) -> None:
        """Take in a migrant whom the journal knows."""
        self._evolution.add_migrant(migrant, result)

    def exchange(self, counts: Counts, in_flight: int, now: float) -> int:
        """Tell the others, hear from them, and take in migrants if it is time to; return how many came.

        Parameters
        ----------
        counts
            How far this island is; what the others have at home is written there.
        in_flight
            Evaluations that will come home here.
        now
            Clock reading in seconds.
        """
        self._tell(counts, in_flight, now)
        self._hear(now)
        counts.elsewhere = sum(heard.news.told for heard in self._heard.values())
        if self._due is None:  # after a new start in step with the old one
            self._due = counts.done - counts.done % self._every + self._every
        if counts.done < self._due:
            return 0
        self._due = counts.done + self._every
        migrants = self._newcomers()
        if migrants:
            self._recorder.migrated(migrants)
            for individual, result in migrants:
                self._evolution.add_migrant(individual, result)
        return len(migrants)

    def announce_end(self, counts: Counts, now: float) -> None:
        """Tell the others that nothing is in flight here any more."""
        counts.workers = 0
        self._tell(counts, 0, now)

    def _tell(self, counts: Counts, in_flight: int, now: float) -> None:
        emigrants = tuple(self._evolution.emigrants(self._count))
        # what no worker is there for may wait for hours: others should rather do it
        promised = in_flight if counts.workers else 0
        news = IslandStatus(
            counts.done, promised, counts.workers or 0, dict(counts.failures), counts.best, counts.best_id, emigrants,
            self._said.beat,
        )  # fmt: skip
        if news == self._said and now - self._said_at < _BEAT_S:
            return
        self._said, self._said_at = replace(news, beat=news.beat + 1), now
        try:
            self._said.write(self._folder)
        except OSError as error:
            logger.warning("%s: the other islands cannot be told: %s", self._folder, error.strerror)

    def _hear(self, now: float) -> None:
        for number, folder in folders_of(self._run).items():
            news = IslandStatus.read(folder) if number != self._island else None
            if news is not None and (number not in self._heard or self._heard[number].news != news):
                self._heard[number] = _Heard(news, now)

    def _newcomers(self) -> Sequence[Evaluation]:
        """Return the emigrants of the next island in turn that has some which are not known here."""
        others = sorted(self._heard)
        for number in [n for n in others if n > self._turn] + [n for n in others if n <= self._turn]:
            emigrants = self._heard[number].news.emigrants
            newcomers = [(one, result) for one, result in emigrants if not self._evolution.has_seen(one.genome)]
            if newcomers:
                self._turn = number
                return newcomers
        return ()
