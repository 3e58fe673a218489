"""The trained networks of a run: the best few for an ensemble, and what they were trained for. Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from menndl_dask.change import AXES
from menndl_dask.errors import UserError, nearest
from menndl_dask.genome.keras_model.network_file import check_format
from menndl_dask.problem import Problem
from menndl_dask.run.layout import folder_of, folders_of, island_of, whole_run
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE

_SHARE_OF_BEST = 0.5
_LEVELS = 3  # best.keras is in the run directory, a kept network two folders below


def run_of(path: Path) -> Run | None:
    """Return the run whose directory contains a network, or that is this directory; None if there is none."""
    folder = next((folder for folder in (path, *list(path.parents)[:_LEVELS]) if (folder / FILE).is_file()), None)
    return None if folder is None else Run(whole_run(folder))


def check_network(path: Path) -> None:
    """Raise `UserError` if a path is not that of a trained network in Keras's format ``.keras``."""
    if not path.is_file():
        hint, folder = "", path.parent
        if (folder / FILE).is_file():
            hint = f"; a search writes best.keras when it ends, and menndl retrain {folder} at any time"
        elif folder.is_dir():
            hint = nearest(path.name, (each.name for each in folder.iterdir()))
        raise UserError(f"{path}: expected a trained network, found no such file{hint}")
    check_format(path)


def best_networks(run: Run, count: int) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the files of the fittest networks of a run, each as it was trained last: for longer, if it was.

    A network that is better than the constant predictor by less than half of what the best one is would make the mean
    worse, and is left out.

    Returns
    -------
    tuple of Path, tuple of str
        The files, the fittest first, and what is to be said of those that are left out.

    Raises
    ------
    UserError
        If there are not so many.
    """
    best: dict[int, tuple[float, float, Path]] = {}  # of each individual: budget, fitness, file
    for number, factor, fitness, path in _trained(run):
        if path.is_file() and (number not in best or factor > best[number][0]):
            best[number] = factor, fitness, path
    found = sorted(best.items(), key=lambda network: -network[1][1])
    if not 1 <= count <= len(found):
        raise UserError(f"ensemble: expected 1 to {len(found)}, the trained networks that {run.path} has, got {count}")
    constant = None if run.problem is None else run.problem.facts.constant_fitness
    highest = found[0][1][1]
    least = highest if constant is None else constant + _SHARE_OF_BEST * (highest - constant)
    taken, notes = [], []
    for number, (_, fitness, path) in found[:count]:
        if constant is None or fitness >= least:
            taken.append(path.resolve())
        else:
            notes.append(f"ensemble: network {number} is left out: fitness {fitness:.4f}, of the best {highest:.4f}")
    return tuple(taken), tuple(notes)


def _trained(run: Run) -> Iterator[tuple[int, float, float, Path]]:
    """Yield number, budget in multiples of the search's, fitness and file of each network that was trained."""
    islands = bool(folders_of(run.path))
    for individual, result in run.evaluations:
        if result.fitness is not None:
            folder = folder_of(run.path, island_of(individual)) if islands else run.path
            yield individual.id, 1.0, result.fitness, folder / "networks" / individual.name / "network.keras"
    for compared in run.comparisons:
        if not compared.is_standard and compared.result.fitness is not None:
            name, number = f"trained-{compared.factor:g}.keras", compared.individual.id
            path = run.path / "networks" / compared.individual.name / name
            yield number, compared.factor, compared.result.fitness, path


def flips_of(rank: int, names: Sequence[str] | bool, problem: Problem | None) -> tuple[int, ...]:
    """Return the spatial axes along which images are flipped.

    Parameters
    ----------
    rank
        Number of spatial axes.
    names
        Of the axes, such as ``y`` and ``x``; True for those along which images were flipped in training.
    problem
        What the network was trained for, if that is known.

    Raises
    ------
    UserError
        If there is no such axis, or images were not flipped in training.
    """
    known = AXES[-rank:]
    if isinstance(names, bool):
        changes = () if problem is None else problem.changes()
        wanted = next((change.axes for change in changes if change.name == "flip"), "") if names else ""
        if names and not wanted:
            expected = f"axes such as {' '.join(known)}, as the network was not trained with flips"
            raise UserError(f"flips: expected {expected}")
    else:
        wanted = "".join(names)
        if not set(wanted) <= set(known) or not wanted:
            raise UserError(f"flips: expected axes among {', '.join(known)}, got {' '.join(names) or 'none'}")
    return tuple(axis for axis, name in enumerate(known) if name in wanted)
