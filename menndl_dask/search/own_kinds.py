"""A user's own code in a search: checked before it begins, signed, and found by the workers. Runs on the driver."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from distributed import Client, Worker, WorkerPlugin

from menndl_dask import own_code
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.gene import is_users, kind_name
from menndl_dask.genome.layer import Layer
from menndl_dask.problem import Problem
from menndl_dask.space.space import SearchSpace

_ANSWER_S = 600.0  # for importing Keras and building some small networks


def own_names(problem: Problem, space: SearchSpace) -> set[str]:
    """Return the names of the user's own code in a search: loss, metric, augmentations, gene kinds, Keras layers.

    The gene kinds are checked: small networks of them are built, saved, loaded and encoded in a child process.

    Raises
    ------
    UserError
        If a gene kind does not work, or no other process can import it.
    """
    kinds = [kind for kind in (*space.fixed, *space.kinds) if is_users(kind)]
    for kind in kinds:
        if kind_name(kind).startswith("__main__:"):
            expected = "expected a module that workers can import, such as my_layers.py, got a program without a file"
            raise UserError(f"gene kind {kind.__name__}: {expected}")
    layers = tuple(kind_name(kind) for kind in kinds if issubclass(kind, Layer))
    return {*problem.code, *map(kind_name, kinds), *(_keras_layers(layers, problem) if layers else ())}


def let_workers_find(client: Client, names: Iterable[str]) -> None:
    """Let the workers of a cluster, also those to come, import modules from where this process has them."""
    if folders := own_code.folders_of(names):
        client.register_plugin(_ImportPath(folders))


class _ImportPath(WorkerPlugin):
    """Puts folders at the end of a worker's import path, which its trainings take over."""

    name = "menndl-import-path"
    idempotent = False

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = list(folders)

    def setup(self, worker: Worker) -> None:
        """Add the folders that are not there."""
        sys.path.extend(folder for folder in self._folders if folder not in sys.path)


_CHECKED: dict[tuple[Sequence[str], str], list[str]] = {}  # by names and problem: Keras layers


def _keras_layers(kinds: tuple[str, ...], problem: Problem) -> list[str]:
    """Return the names of the Keras layers of the user's own that networks of some gene kinds need."""
    key = (kinds, repr(problem.to_dict()))
    if key not in _CHECKED:
        child = ChildProcess("menndl_dask.prediction.model_process")
        try:
            _CHECKED[key] = child.ask(("check", kinds, problem.to_dict(), [own_code.ALL]), _ANSWER_S)
        except TrainerError as error:
            raise UserError(str(error)) from error
        finally:
            child.close()
    return _CHECKED[key]
