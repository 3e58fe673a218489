"""The directories of islands: several searches that share a run directory. Runs anywhere.

Each island is a run directory of its own below the run's, such as ``islands/02``, with its own driver, journal and kept
networks. Individuals of different islands have different numbers, which they keep when they migrate.
"""

from __future__ import annotations

from pathlib import Path

from menndl_dask.errors import RunError
from menndl_dask.genome.individual import Individual

NUMBERS = 10_000_000  # individuals of an island at most: number 20000017 is from island 2, the 18th that it asked for
_FOLDER = "islands"


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
    """Return the directories of a run's islands by their numbers, in order; empty for a run without islands.

    Raises
    ------
    RunError
        If one of them is a symbolic link, which could lead anywhere.
    """
    found = [(int(path.name), path) for path in (run / _FOLDER).glob("*") if path.name.isdecimal()]
    for path in (run / _FOLDER, *(path for _, path in found)):
        if path.is_symlink():
            raise RunError(f"{path}: expected a folder of the run, got a symbolic link")
    return dict(sorted((number, path) for number, path in found if path.is_dir()))


def whole_run(path: Path) -> Path:
    """Return the directory of the run that an island's directory belongs to; any other directory as it is.

    >>> whole_run(Path("runs/mine/islands/02")).as_posix(), whole_run(Path("runs/mine")).as_posix()
    ('runs/mine', 'runs/mine')
    """
    is_island = path.parent.name == _FOLDER and path.name.isdecimal()
    return path.parent.parent if is_island else path


def name_of(path: Path) -> str:
    """Return the name to show for a run, or for an island of one.

    >>> name_of(Path("runs/mine/islands/02")), name_of(Path("runs/mine"))
    ('mine, island 2', 'mine')
    """
    whole = whole_run(path)
    return path.name if whole == path else f"{whole.name}, island {int(path.name)}"
