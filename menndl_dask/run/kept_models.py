"""The trained models that a run keeps on disk: those of the fittest few individuals. Runs on the driver.

A worker saves its model if it is fitter than the models that were kept when it was submitted. The driver removes it
when fitter ones have arrived.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result

_CHECKPOINT = ".checkpoint"


class KeptModels:
    """The folder ``networks``: one folder for each kept model, with ``genome.json`` and ``network.keras``.

    The path is absolute, since workers write there too.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder = folder
        self._keep = keep
        self._kept: list[tuple[float, Individual]] = []  # the fittest first, of equals the one that arrived first

    def path(self, individual: Individual) -> Path:
        """Return where a worker saves the model of an individual."""
        return self.folder / individual.name / "network.keras"

    def checkpoint(self, individual: Individual) -> Path:
        """Return where a worker writes the checkpoint of a training."""
        return self.folder / individual.name / _CHECKPOINT

    @property
    def threshold(self) -> float | None:
        """Fitness above which a model is saved; None while fewer than `keep` are kept."""
        return self._kept[-1][0] if len(self._kept) == self._keep else None

    def recall(self, individual: Individual, result: Result) -> Individual | None:
        """Count a result; return the individual whose model is not kept because of it, maybe its own, or None."""
        if result.fitness is None or (self.threshold is not None and result.fitness <= self.threshold):
            return individual
        self._kept.append((result.fitness, individual))
        self._kept.sort(key=lambda entry: -entry[0])
        return self._kept.pop()[1] if len(self._kept) > self._keep else None

    def tell(self, individual: Individual, result: Result) -> None:
        """Count a result: keep its model if it is among the fittest, and remove one that no longer is."""
        leaver = self.recall(individual, result)
        if leaver is not individual:
            self._write_genome(individual)
            _remove_checkpoint(self.folder / individual.name)
        if leaver is not None:
            _remove(self.folder / leaver.name)

    def sweep(self, in_flight: Collection[Individual] = ()) -> None:
        """Remove models that are neither kept nor in flight, such as a killed driver's; complete kept ones.

        Raises
        ------
        RunError
            If the folder is a symbolic link, which could lead anywhere, or cannot be written to.
        """
        if self.folder.is_symlink():
            raise RunError(f"{self.folder}: expected a folder of the run, got a symbolic link")
        try:
            self.folder.mkdir(exist_ok=True)
            for _, individual in self._kept:
                self._write_genome(individual)
                _remove_checkpoint(self.folder / individual.name)
            names = {individual.name for _, individual in self._kept} | {individual.name for individual in in_flight}
            for folder in self.folder.iterdir():
                if folder.name not in names:
                    _remove(folder)
        except OSError as error:
            raise RunError(f"{error.filename or self.folder}: cannot be written: {error.strerror}") from error

    def _write_genome(self, individual: Individual) -> None:
        path = self.folder / individual.name / "genome.json"
        _own_folder(path.parent)
        if not path.is_file() or path.is_symlink():
            files.write_text(path, json.dumps(individual.genome.to_dict(), indent=1) + "\n", root=self.folder.parent)


def _own_folder(path: Path) -> None:
    """Make a folder if it does not exist; a symbolic link in its place, which could lead anywhere, is removed."""
    if path.is_symlink():
        path.unlink()
    path.mkdir(exist_ok=True)


def _remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a completed training, and what was partly written."""
    for pattern in () if folder.is_symlink() else (f"{_CHECKPOINT}*", ".*.partial.keras"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a model; if its folder holds other files, such as those of a longer training, only its weights."""
    ours = {"network.keras", "genome.json"}
    is_folder = folder.is_dir() and not folder.is_symlink()
    if is_folder and any(file.name not in ours and not file.name.startswith(".") for file in folder.iterdir()):
        (folder / "network.keras").unlink(missing_ok=True)
        _remove_checkpoint(folder)
    else:
        files.remove_folder(folder)
