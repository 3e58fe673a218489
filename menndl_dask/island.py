"""An island: one of several searches that share a run directory, and the news that it gives the others. Runs anywhere.

An island is a run directory of its own below the run's, ``islands/02``: its own driver, journal and kept networks.
Individuals of different islands have different numbers, which they keep wherever they go.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from menndl_dask import atomic
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.result import Result

NUMBERS = 10_000_000  # of individuals on an island: 20000017 is the one that island 2 asked for after 17 others
_FOLDER, _FILE = "islands", "island.json"

logger = logging.getLogger(__name__)


def first_number(island: int) -> int:
    """Return the number of an island's first individual.

    >>> first_number(0), first_number(2)
    (0, 20000000)
    """
    return island * NUMBERS


def island_of(individual: Individual) -> int:
    """Return the island that an individual was bred on."""
    return individual.id // NUMBERS


def folder_of(run: Path, island: int) -> Path:
    """Return the run directory of an island.

    >>> folder_of(Path("runs/mine"), 2).as_posix()
    'runs/mine/islands/02'
    """
    return run / _FOLDER / f"{island:02d}"


def folders_of(run: Path) -> dict[int, Path]:
    """Return the directories of a run's islands, by their numbers in order; none where the run is one search."""
    found = [(int(path.name), path) for path in (run / _FOLDER).glob("*") if path.name.isdecimal()]
    return dict(sorted(found))


def whole_run(path: Path) -> Path:
    """Return the directory of the run that an island's directory belongs to; any other directory as it is.

    >>> whole_run(Path("runs/mine/islands/02")).as_posix(), whole_run(Path("runs/mine")).as_posix()
    ('runs/mine', 'runs/mine')
    """
    is_island = path.parent.name == _FOLDER and path.name.isdecimal()
    return path.parent.parent if is_island else path


def name_of(path: Path) -> str:
    """Return what people call a run, or an island of one.

    >>> name_of(Path("runs/mine/islands/02")), name_of(Path("runs/mine"))
    ('mine, island 2', 'mine')
    """
    whole = whole_run(path)
    return path.name if whole == path else f"{whole.name}, island {int(path.name)}"


@dataclass(frozen=True, slots=True)
class IslandStatus:
    """What an island tells the others: how far it is, and its best networks.

    Parameters
    ----------
    told
        Results at home.
    in_flight
        Evaluations that workers of its own have or are about to get.
    workers
        How many there are.
    failures
        How often each kind of failure came.
    best, best_id
        The highest fitness, and whose.
    emigrants
        Individuals for the others to take in, with their results.
    beat
        Rises while the driver lives.
    """

    told: int = 0
    in_flight: int = 0
    workers: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    best: float | None = None
    best_id: int | None = None
    emigrants: tuple[Evaluation, ...] = ()
    beat: int = 0

    @classmethod
    def read(cls, island: Path) -> Self | None:
        """Read what an island told last; nothing where it has not, or it cannot be read at this moment."""
        try:
            values: dict[str, Any] = json.loads((island / _FILE).read_text(encoding="utf-8"))
            pairs = values.pop("emigrants")
            emigrants = tuple((Individual.from_dict(one), Result.from_dict(result)) for one, result in pairs)
            return cls(**values, emigrants=emigrants)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            # network file systems can lose a file that is replaced while it is read; it is read again soon
            logger.debug("%s: cannot be read now: %s", island / _FILE, error)
            return None

    @staticmethod
    def told_at(island: Path) -> float:
        """Return when an island told something last, seconds since the epoch; 0 if it never has."""
        try:
            return (island / _FILE).stat().st_mtime
        except OSError:
            return 0.0

    def write(self, island: Path) -> None:
        """Write it, in place of what the island told before."""
        emigrants = [[individual.to_dict(), result.to_dict()] for individual, result in self.emigrants]
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        atomic.write_text(island / _FILE, json.dumps({**values, "emigrants": emigrants}) + "\n")
