"""Initial networks: what a search evaluates before random networks and offspring. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from menndl_dask import own_code
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import ranked
from menndl_dask.problem import Problem
from menndl_dask.run.run import Run
from menndl_dask.space.standard.standard import standard_network

STANDARD = "standard"
NONE = "none"
_BEST = 5  # networks of an earlier run
_ANSWER_S = 600.0  # for importing Keras and reading a model


def initial_networks(names: Sequence[str], problem: Problem) -> list[Genome]:
    """Return the networks to begin a search with, without duplicates.

    A name is ``standard`` for the standard network of the problem's task, the directory of a run for its five best
    networks, or the path of a ``.keras`` file; ``none`` alone stands for no networks.

    Raises
    ------
    UserError
        If a name is none of these, or a model has a layer that no gene describes.
    RunError
        If a run is damaged.
    """
    if NONE in names:
        if len(names) > 1:
            raise UserError(f"--initial: expected {NONE} alone, got it among {', '.join(names)}")
        return []
    found = [genome for name in names for genome in _networks(name, problem)]
    return list({genome.key: genome for genome in found}.values())


def _networks(name: str, problem: Problem) -> list[Genome]:
    path = Path(name)
    if name == STANDARD:
        try:
            return [standard_network(problem)[1]]
        except UserError:  # images of a single pixel have no standard network
            return []
    if path.is_dir():
        found = [individual.genome for individual, _ in ranked(Run(path).evaluations, _BEST)]
        unknown = sorted({kind for genome in found for kind in genome.unknown_kinds})
        if unknown:
            again = f"the same command with {own_code.OPTION} {' '.join(unknown)}"
            raise UserError(f"--initial: {path}: its networks have gene kinds of its user; if you trust them, {again}")
        return found
    if path.is_file():
        return [_encoded(path)]
    raise UserError(f"--initial: expected {STANDARD}, {NONE}, a run directory or a .keras file, got {name!r}")


def _encoded(path: Path) -> Genome:
    """Return the genome of a Keras model, read in a child process: the driver does not import Keras."""
    child = ChildProcess("menndl_dask.prediction.model_process")
    try:
        return Genome.from_dict(child.ask(("encode", str(path.resolve()), own_code.allowed()), _ANSWER_S))
    except TrainerError as error:
        raise UserError(f"--initial: {path}: no genome can be made of this model: {error}") from error
    finally:
        child.close()
