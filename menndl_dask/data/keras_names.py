"""Check names of metrics, losses and users' functions, in a separate process. Runs on the driver."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from menndl_dask.errors import UserError, nearest, shortened

_ANSWER_S = 120
# looks names up as the training process does; lists the names of the Keras documentation
_QUESTION = """
import json, sys
from menndl_dask.program.keras_import import import_frugally
module = getattr(import_frugally("keras"), sys.argv[1])
try:
    module.get(sys.argv[2])
    answer = None
except (ValueError, TypeError) as error:
    names = [name for name in dir(module) if name[0] != "_" and name not in ("get", "serialize", "deserialize")]
    answer = [str(error), names]
print(json.dumps(answer))
"""

# imports what a reference names, as the training process does
_IMPORT = """
import importlib, json, sys
sys.path.extend(path for path in json.loads(sys.argv[2]) if path not in sys.path)
module, _, name = sys.argv[1].partition(":")
try:
    found = importlib.import_module(module)
    answer = None if hasattr(found, name) else ["name", "", dir(found)]
except BaseException as error:
    missing = isinstance(error, ModuleNotFoundError) and error.name == module
    answer = ["module" if missing else "error", f"{type(error).__name__}: {error}", []]
print(json.dumps(answer))
"""


def check_reference(what: str, name: str, backend: str | None = None) -> None:
    """Check that a user's function or class ``module:name`` can be imported, before every training fails because of it.

    It is imported in a process of its own, with the import path of this one. Names without a colon are accepted, and
    all names if no answer comes.

    Raises
    ------
    UserError
        If it cannot; the message suggests the nearest name.
    """
    module, colon, wanted = name.partition(":")
    if not colon:
        return
    paths = [path or str(Path.cwd()) for path in sys.path]
    answer = _ask([sys.executable, "-c", _IMPORT, name, json.dumps(paths)], backend)
    if answer is None:
        return
    kind, message, names = answer
    if kind == "name":
        raise UserError(f"{what}: module {module!r} has no {wanted!r}{nearest(wanted, names)}")
    if kind == "module":
        beside = [path.stem for path in Path.cwd().glob("*.py")]
        expected = f"expected a module {module!r} in the current directory or installed, found none"
        raise UserError(f"{what}: {name!r}: {expected}{nearest(module, beside)}")
    raise UserError(f"{what}: {name!r}: module {module!r} cannot be imported: {shortened(message)}")


def check_name(what: str, name: str, built_in: Collection[str], backend: str | None = None) -> None:
    """Check that a metric or loss exists, before every training fails because of it.

    Names in `built_in` are accepted without asking Keras, and all names if Keras cannot be asked. Names that do not
    occur in its tables are refused without importing it, which takes seconds. A user's function (``module:function``)
    is checked where the trainings run.

    Raises
    ------
    UserError
        If Keras does not know the name; the message suggests the nearest one.
    """
    if name in built_in or ":" in name:
        return
    module = {"metric": "metrics", "loss": "losses"}[what]
    known = keras_names(module)
    error = ["", known]
    if not known or name in known:  # some of them need arguments
        error = _ask([sys.executable, "-c", _QUESTION, module, name], backend)
    if error is not None:
        message, names = error
        expected = f"{', '.join(built_in)}, a name of Keras or module:function"
        near = nearest(name, [*built_in, *names])
        raise UserError(f"{what}: expected {expected}, got {name!r}{near or (message and f' ({message})')}")


def keras_names(module: str) -> list[str]:
    """Return all names in the tables of a module of Keras (metrics, losses), read from its file without importing it.

    Empty if Keras is not installed or its file is not as expected.
    """
    try:
        found = find_spec("keras")
        folder = (found.submodule_search_locations or [])[0]  # type: ignore[union-attr]
        tree = ast.parse(Path(folder, "src", module, "__init__.py").read_text(encoding="utf-8"))
    except (AttributeError, IndexError, OSError, ValueError, SyntaxError):
        return []
    names, short = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"keras.src.{module}."):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Dict):
            short |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return sorted(names | {_snake(name) for name in names} | short) if names else []


def _snake(name: str) -> str:
    """Return the name of a class with underscores, as Keras does.

    >>> _snake("R2Score"), _snake("OneHotIoU"), _snake("AUC")
    ('r2_score', 'one_hot_io_u', 'auc')
    """
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _ask(command: list[str], backend: str | None) -> Any:
    """Return the answer of a Python program, which is JSON in its last line; None if there is none."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {} if backend is None else {"KERAS_BACKEND": backend}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
