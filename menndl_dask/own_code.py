"""Code of the user's own: which names of modules, functions and classes may be imported. Runs anywhere.

Files name code: a loss ``my_losses:focal`` in ``run.yaml``, a gene kind ``my_layers:Block`` in a journal, a layer in a
``.keras`` file. A file that someone handed over is data. So such a name is imported only in a process that was allowed
to: by a name on the command line, or by this user's own signature (`menndl_dask.run.signature`). A training process
imports what its driver asks it to.
"""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from menndl_dask.errors import UserError, one_line

OPTION = "--import"
ALL = "*"
_ALLOWED: set[str] = set()  # of this process
_SCRIPTS = ("__main__", "__mp_main__")  # the program, and in a process that it has started its copy


def is_reference(name: str) -> bool:
    """Return whether a name is a reference ``module:name`` to code of the user's own.

    >>> is_reference("my_losses:focal"), is_reference("accuracy")
    (True, False)
    """
    return ":" in name


def allow(names: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Allow this process to import modules, ``my_layers``, or single names in them, ``my_layers:Block``.

    The current directory and the given folders are put at the end of the import path, where workers and trainings take
    it over.
    """
    if not isinstance(names, Iterable) or isinstance(names, str):
        raise UserError(f"imports: expected a list of names, such as ['my_layers'], got {names!r}")
    names = set(names)
    _ALLOWED.update(names)
    here = [str(Path.cwd())] if names - {ALL} else []
    sys.path.extend(folder for folder in dict.fromkeys([*here, *folders]) if folder not in sys.path)


def allowed() -> tuple[str, ...]:
    """Return what this process may import, for its child processes."""
    return tuple(sorted(_ALLOWED))


def is_allowed(reference: str) -> bool:
    """Return whether this process may import a reference ``module:name``, or a module."""
    return not {ALL, reference, reference.partition(":")[0]}.isdisjoint(_ALLOWED)


def importable_name(module: str) -> str:
    """Return the name by which another process can import a module: of a script ``search.py`` this is ``search``.

    A program without a file, such as a notebook, keeps its name ``__main__``.
    """
    if module not in _SCRIPTS:
        return module
    program = sys.modules.get(module)
    spec, file = getattr(program, "__spec__", None), Path(getattr(program, "__file__", None) or "")
    if spec is not None:  # python -m
        return str(spec.name)
    return file.stem if file.suffix == ".py" and file.stem.isidentifier() else module


def imported(module: str) -> ModuleType | None:
    """Return a module that this process has imported, or its program if that has this name; None if it has not."""
    for name in _SCRIPTS:
        if name in sys.modules and module in (name, importable_name(name)):
            return sys.modules[name]
    return sys.modules.get(module)


def import_own(module: str, where: str) -> ModuleType:
    """Import a module of the user's own that this process may import, see `is_allowed`; `where` is what needs it.

    Raises
    ------
    UserError
        If it cannot be imported.
    """
    if (found := imported(module)) is not None:
        return found
    try:
        return importlib.import_module(module)
    except Exception as error:  # it may raise anything
        why = f"needs module {module}, which cannot be imported: {one_line(error)}"
        raise UserError(f"{where}: {why}; expected it in the current folder or in one of PYTHONPATH") from error


def folders_of(references: Iterable[str]) -> tuple[str, ...]:
    """Return the folders from which this process imports code ``module:name``, but for what is installed."""
    found = (_folder_of(module) for module in sorted({name.partition(":")[0] for name in references} - {ALL}))
    return tuple(dict.fromkeys(folder for folder in found if folder is not None))


def _folder_of(module: str) -> str | None:
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
        file = getattr(imported(module), "__file__", None) if found is None else found.origin
    except (ImportError, ValueError):
        return None
    if not file:
        return None
    path = Path(file).resolve()
    is_installed = any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
    return None if is_installed else str(path.parents[path.name == "__init__.py"])


def demand_allowed(where: str, references: Iterable[str], command: Iterable[object]) -> None:
    """Raise an error in one line, with the complete command to type, if a reference may not be imported.

    Parameters
    ----------
    where
        The file that names them.
    command
        The words that were typed, without the option that allows them.
    """
    refused = sorted({each for each in references if not is_allowed(each)})
    if refused:
        again = shlex.join([*map(str, command), OPTION, *refused])
        raise UserError(f"{where}: names code, which runs only if you name it too; if you trust it: {again}")
