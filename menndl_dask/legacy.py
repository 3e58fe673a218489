"""Legacies: weights that the children of a run's networks begin with. Runs on the driver.

A worker writes the weights of every network that has learnt something, since nobody knows yet who will become a parent.
The driver removes them when their network can have no more children, so that the folder holds little more than one
file for each living member of the population.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from menndl_dask import atomic
from menndl_dask.errors import UserError
from menndl_dask.individual import Individual
from menndl_dask.island import NUMBERS, folder_of
from menndl_dask.result import Result

_FOLDER, _SUFFIX = "weights", ".npz"


@runtime_checkable
class Breeder(Protocol):
    """What can drive a search whose networks inherit weights: it knows who may still become a parent."""

    def breeders(self) -> Collection[int]:
        """Return the numbers of those that may still become parents."""
        ...


class Legacies:
    """The folder ``weights`` of a run, or of an island.

    Parameters
    ----------
    run
        The run directory, that of all islands.
    island
        Number of this one, or nothing.
    evolution
        Knows who may become a parent; nothing where networks inherit no weights, so that nothing is kept.
    """

    def __init__(self, run: Path, island: int | None, evolution: Breeder | None) -> None:
        self._run, self._island, self._evolution = run.resolve(), island, evolution
        self._there: set[int] = set()
        self._in_flight: dict[int, tuple[int, ...]] = {}

    def arguments(self, individual: Individual) -> dict[str, Any]:
        """Return what a worker must know about an individual's legacies; its parents' are kept until it is home."""
        if self._evolution is None:
            return {}
        self._in_flight[individual.id] = individual.parents
        parents = {number: str(self._path(number)) for number in individual.parents}
        return {"parents": parents, "weights": str(self._path(individual.id))}

    def tell(self, individual: Individual, result: Result) -> None:
        """Take note that a result is home, and that evolution knows it: some others may have no children any more."""
        if self._evolution is None:
            return
        self._in_flight.pop(individual.id, None)
        if result.succeeded:
            self._there.add(individual.id)
        self._tidy()

    def sweep(self, in_flight: Iterable[Individual] = ()) -> None:
        """Look what an earlier driver has left, and remove what nobody needs."""
        if self._evolution is None:
            return
        self._in_flight |= {individual.id: individual.parents for individual in in_flight}
        for file in self._folder.glob("*"):
            if file.suffix == _SUFFIX and file.stem.isdecimal():
                self._there.add(int(file.stem))
            else:
                file.unlink(missing_ok=True)  # what a killed process had begun to write
        self._tidy()

    def clear(self) -> None:
        """Remove all: the search is over."""
        atomic.remove_folder(self._folder)

    @property
    def _folder(self) -> Path:
        return self._path(0 if self._island is None else self._island * NUMBERS).parent

    def _path(self, number: int) -> Path:
        """Return where the weights of a network are; those of a migrant are on the island that it was bred on."""
        home = self._run if self._island is None else folder_of(self._run, number // NUMBERS)
        return home / _FOLDER / f"{number:08d}{_SUFFIX}"

    def _tidy(self) -> None:
        assert self._evolution is not None
        needed = set(self._evolution.breeders()).union(*self._in_flight.values())
        for number in self._there - needed:
            self._path(number).unlink(missing_ok=True)
        self._there &= needed


def legacies_of(run: Path, island: int | None, evolution: object, is_used: bool) -> Legacies:
    """Return the legacies of a search.

    Raises
    ------
    UserError
        If networks are to inherit, and what proposes them does not know who may become a parent.
    """
    if not is_used:
        return Legacies(run, island, None)
    if not isinstance(evolution, Breeder):
        kind = type(evolution).__name__
        raise UserError(f"inherit: expected an optimizer with a method breeders, such as Evolution, got {kind}")
    return Legacies(run, island, evolution)
