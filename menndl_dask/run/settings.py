"""The settings of a run, frozen in ``run.yaml``: problem, search space, seed, limits, versions. Runs on the driver."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml

from menndl_dask import files
from menndl_dask.errors import RunError, UserError
from menndl_dask.problem import SPLITS, Limits, Problem
from menndl_dask.run.layout import whole_run
from menndl_dask.space.space import SearchSpace
from menndl_dask.validation import read_yaml

FILE = "run.yaml"
_FORMAT = 1
_CHECKSUM = "# crc32 of the lines above: "
_OWN = "menndl-dask"
_MUST_AGREE = ("problem", "space", "seed")
_ALWAYS: dict[str, Any] = {"problem": (dict, type(None)), "space": dict, "seed": int, "limits": dict}  # in every file
_SHOWN = 3  # differences in a message
_PACKAGES = (_OWN, "keras", "tensorflow", "jax", "torch", "dask", "distributed", "xarray", "zarr", "numpy")

Settings = dict[str, Any]


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the main packages, without importing them."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def frozen_settings(
    problem: Problem | None, space: SearchSpace, seed: int, limits: Limits, extra: Mapping[str, Any]
) -> Settings:
    """Return the settings to freeze when a run begins; `extra` are further ones to record, such as the ``command``."""
    settings: Settings = {
        "format": _FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **extra,
        "seed": seed,
        "limits": asdict(limits),
        "splits": dict(zip(SPLITS, problem.facts.samples, strict=True)) if problem is not None else {},
        "versions": installed_versions(),
        "problem": problem.to_dict() if problem is not None else None,
        "space": space.to_dict(),
    }
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return]  # tuples are lists, as when read back


def read_settings(path: Path) -> Settings:
    """Read ``run.yaml``.

    Raises
    ------
    RunError
        If it does not exist, cannot be read, or is of another version.
    """
    try:
        os.close(files.open_regular(path, root=whole_run(path.parent)))  # not a link to another file, nor a fifo
    except (FileNotFoundError, NotADirectoryError):
        found = f"{path.parent}: expected a run directory, got none: there is no {path.name}"
        raise RunError(f"{found}{_nearest_run(path.parent)}") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error
    settings = read_yaml(path, RunError)
    if settings.get("format") != _FORMAT:
        got = settings.get("format")
        raise RunError(f"{path}: format: expected {_FORMAT}, got {got!r}; the run is of another version")
    for key, kinds in _ALWAYS.items():
        if not isinstance(settings.get(key), kinds) or (key not in settings):
            came = _short(settings[key]) if key in settings else "no such key"
            expected = "an integer" if kinds is int else "keys with values"
            raise RunError(f"{path}: {key}: expected {expected}, got {came}; the file is damaged")
    return settings


def _nearest_run(path: Path) -> str:
    """Return "; did you mean 'runs/mine'?" for a run in a folder, beside it or in ``runs``; empty if there is none."""
    with suppress(OSError, ValueError):  # a folder that cannot be read, or no path at all
        within = [file.parent for file in path.glob(f"*/{FILE}")]
        if len(within) > 1:
            shown = ", ".join(sorted(run.name for run in within)[:_SHOWN])
            return f"; it holds runs: {shown}{', …' if len(within) > _SHOWN else ''}"
        beside = [file.parent for place in (path.parent / "runs", path.parent) for file in place.glob(f"*/{FILE}")]
        names = {run.name: run for run in beside}
        near = get_close_matches(path.name.partition(".")[0], names, n=1)
        for run in (*within, *(names[name] for name in near)):
            return f"; did you mean {str(run)!r}?"
    return ""


def is_as_written(path: Path) -> bool | None:
    """Return whether ``run.yaml`` has its checksum; None if it has none, as before version 0.4.0."""
    text = files.read_text(path)
    body, mark, checksum = text.rpartition(_CHECKSUM)
    return None if not mark else checksum.strip() == f"{crc32(body.encode()):08x}"


def freeze(path: Path, settings: Settings) -> list[str]:
    """Write ``run.yaml``, or compare with the one that exists; return the allowed differences in words.

    Raises
    ------
    RunError
        If the existing run is for another problem or space, or has another seed.
    """
    if not os.path.lexists(path):
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
        text += f"{_CHECKSUM}{crc32(text.encode()):08x}\n"
        try:
            files.write_text(path, text, root=whole_run(path.parent))
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
        return []
    try:
        frozen = written = read_settings(path)
        if problem := written.get("problem"):  # what an earlier version lacks gets its default
            frozen = {**written, "problem": Problem.from_dict(problem).to_dict()}
    except UserError as error:
        raise RunError(f"{path}: {error}; the run is of another version") from error
    found = [line for key in _MUST_AGREE for line in _differences(key, frozen.get(key), settings.get(key))]
    before, now = ((each["problem"] or {}).get("facts", {}).get("fingerprint") for each in (frozen, settings))
    if before and before == now:  # the same data in another place
        found = [line for line in found if not line.startswith("problem.data:")]
    former, own = (each.get("versions", {}).get(_OWN) for each in (frozen, settings))
    grown = [line for line in found if line.startswith(("space.kinds:", "space.domains."))] if former != own else []
    found = [line for line in found if line not in grown]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        shown = "; ".join(found[:_SHOWN]) + more
        raise RunError(f"{path}: the run is for another search: {shown}; give the options of before, or another --run")
    may = [line for key in ("limits", "versions") for line in _differences(key, frozen.get(key), settings.get(key))]
    if grown:
        names = ", ".join(dict.fromkeys(line.partition(":")[0] for line in grown))
        may.append(f"version {own} has other gene kinds or values than {former}, and proposes them too: {names}")
    notes = [line.replace("expected", "at first", 1).replace(", got", ", now", 1) for line in may]
    if ((written.get("problem") or {}).get("budget") or {}).get("inherit"):
        notes.append("problem.budget.inherit was removed: from here on every network begins with new weights")
    return notes


def _differences(name: str, expected: Any, got: Any) -> Iterator[str]:
    """Yield a text for each value that differs, with its path of keys."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in dict.fromkeys((*expected, *got)):
            yield from _differences(f"{name}.{key}", expected.get(key), got.get(key))
    elif expected != got:
        yield f"{name}: expected {_short(expected)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
