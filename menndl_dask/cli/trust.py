"""What a command may run of the code that a run names: what the user names or has signed. Runs on the driver."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from menndl_dask import own_code
from menndl_dask.cluster.profile import profile_file
from menndl_dask.errors import RunError, UserError, shortened
from menndl_dask.genome.individual import ranked
from menndl_dask.problem import Problem
from menndl_dask.run.layout import whole_run
from menndl_dask.run.run import Run
from menndl_dask.run.signature import Signed, Source, allow_signed, own_key
from menndl_dask.text import printable

_FEW = 100  # networks, more than are ever compared
_WHY_NAMED = "is not signed as yours, so name the data and the code that it names"
_BEFORE = "a version before 0.4.0 began it, which did not sign"


def allow(given: argparse.Namespace, run: Run | None = None) -> None:
    """Allow the code that the command line names and, of a run, what this user has signed."""
    named = [getattr(given, name, None) for name in ("loss", "metric")]
    named += getattr(given, "augment", None) or ()
    own_code.allow(name for name in named if name is not None and own_code.is_reference(name))
    own_code.allow(getattr(given, "imports", ()))
    if run is not None:
        allow_signed(run.settings)


def signed_words(path: Path, run: Run, given: argparse.Namespace) -> list[str]:
    """Return the words of the command that began a run, if this user has signed them.

    Raises
    ------
    RunError
        If not: with the complete command to type, which the user reads before typing it.
    """
    signed = Signed.read(run.settings)
    words = [str(word) for word in run.settings.get("arguments") or ()]
    if not words or words[0] != "search":
        command = printable(str(run.settings.get("command") or "a script"), one_line=True)
        raise RunError(f"{path}: was begun by {command}; the same command again carries on")
    if signed is None or not signed.is_own:
        command = shlex.join(["menndl", *words, *_more(given), "--run", str(whole_run(path))])
        raise RunError(f"{path}: {_why(signed)}; if you trust it, this goes on: {printable(command, one_line=True)}")
    words = list(signed.arguments)
    if signed.profile is not None and given.cluster is None:
        words += ["--cluster", str(_same_profile(path, signed.profile, words))]
    return [*words, *_more(given)]


def retrained_problem(run: Run, given: argparse.Namespace) -> Problem | None:
    """Return the problem of a run, on the data that the user names now or has signed.

    Raises
    ------
    RunError
        With the command to type if the run names data or code that the user has neither named nor signed.
    """
    problem = run.problem
    if problem is None:
        return None
    kinds = {kind for individual, _ in ranked(run.evaluations, _FEW) for kind in individual.genome.unknown_kinds}
    code = sorted({name for name in (*problem.code, *kinds) if not own_code.is_allowed(name)})
    signed = Signed.read(run.settings)
    is_own = signed is not None and signed.is_own and _real(signed.data) == _real(problem.data)
    if code or (given.data is None and not is_own):
        raise RunError(f"{run.path}: {_WHY_NAMED}; if you trust it: {_again(run, problem, given, code)}")
    return problem if given.data is None else replace(problem, data=_absolute(given.data))


def check_data(problem: Problem, given: argparse.Namespace) -> None:
    """Check that the data is there, before workers of this machine are started; those of others may read elsewhere.

    Raises
    ------
    UserError
        If it is not.
    """
    if given.cluster == "local" and "://" not in problem.data and not Path(problem.data).is_dir():
        wanted = "expected the Zarr store of the run, found no such directory"
        raise UserError(f"--data: {wanted}: {shortened(problem.data)}")


def _again(run: Run, problem: Problem, given: argparse.Namespace, code: Sequence[str]) -> str:
    """Return the command that trains networks of a run again, with its data and the code that it names."""
    again = ["menndl", given.command, str(run.path)]
    budgets = given.retrain if isinstance(given.retrain, list) else [given.retrain]
    again += [] if given.retrain is None else ["--retrain", *(f"{each:g}" for each in budgets)]
    again += [] if given.finalists is None else ["--finalists", f"{given.finalists}"]
    again += ["--with", *given.others] if given.command == "compare" else []
    again += [] if given.seeds is None else ["--seeds", f"{given.seeds}"]
    again += [] if getattr(given, "on", None) is None else ["--on", given.on]
    again += [] if given.cluster == "local" else ["--cluster", given.cluster]
    again += ["--data", problem.data if given.data is None else given.data]
    imports = [*given.imports, *code]
    return printable(shlex.join([*again, *([own_code.OPTION, *imports] if imports else [])]), one_line=True)


def _absolute(data: str) -> str:
    return data if "://" in data else str(Path(data).absolute())


def _real(data: str) -> str:
    """Return a path without links and ``..``; a URL as it is."""
    return data if "://" in data else str(Path(data).resolve())


def _more(given: argparse.Namespace) -> list[str]:
    """Return what the user gives now, as words that count more than earlier ones."""
    names = ("evaluations", "hours", "cluster", "workers")
    words = [word for name in names if getattr(given, name) is not None for word in (f"--{name}", getattr(given, name))]
    return [*words, *([own_code.OPTION, *given.imports] if given.imports else [])]


def _why(signed: Signed | None) -> str:
    if signed is None:
        return f"does not go on by itself: {_BEFORE}"
    if not signed.signature:
        return "does not go on by itself: it has no signature, because no key could be written when it was begun"
    if (wrong := own_key()[1]) and not wrong.endswith(os.strerror(errno.ENOENT)):
        return f"its signature cannot be checked: {wrong}"
    return "does not go on by itself: another user began it, or you on a computer with another home, or it was changed"


def _same_profile(path: Path, signed: Source, words: Sequence[str]) -> Path:
    """Return the file of the profile that the words name, if its content is as it was when the run was signed."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--cluster", default="")
    name = parser.parse_known_args(list(words))[0].cluster
    for file in (profile_file(name), Path(signed.file)):
        if file is not None and signed.sha256 and Source.of(file).sha256 == signed.sha256:
            return file
    again = shlex.join(["menndl", "resume", str(path), "--cluster", str(profile_file(name) or signed.file)])
    raise RunError(f"{path}: its cluster profile is not as it was when you began the run; if you trust it: {again}")
