"""The doctor of a run directory: what is sound in it, what is not, and what can be repaired. Runs anywhere.

It reads files as data: no code that a run names is imported, and no symbolic link is followed. It repairs only on
request, while no driver runs, and keeps what was there beside it, as ``NAME.dropped-TIME``.
"""

from __future__ import annotations

import json
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError, reading
from menndl_dask.run.journal import JOURNAL, Journal, holder, read_journal
from menndl_dask.run.journal_repair import SAVED, state_of
from menndl_dask.run.layout import folders_of, whole_run
from menndl_dask.run.settings import FILE as SETTINGS
from menndl_dask.run.settings import is_as_written, read_settings
from menndl_dask.text import counted, printable

_KERAS = ("config.json", "metadata.json", "model.weights.h5")  # what a saved network consists of
_MOST_UNPACKED = 2**36  # bytes of a packed file that is looked through
_FOLDERS = ("islands", "networks", "run.zarr", "standard")
_OPEN_TO_ALL = "every user of this machine may write to it; chmod o-w closes it"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found of one file."""

    file: str  # relative to the run directory
    text: str
    is_right: bool = True
    fix: Callable[[], str] | None = None  # repairs it and says how
    is_of_journal: bool = False  # repaired when the journal is opened

    def __str__(self) -> str:
        """Return it as a line."""
        how = "; --repair fixes it and keeps a copy" if self.fix is not None or self.is_of_journal else ""
        return printable(f"{'right' if self.is_right else 'WRONG'}: {self.file}: {self.text}{how}", one_line=True)


def examine(run: Path) -> Iterator[Diagnosis]:
    """Yield what is right and wrong with each file of a run directory, and of its islands.

    Raises
    ------
    RunError
        If it is no directory.
    """
    if not run.is_dir():
        raise RunError(f"{run}: expected a run directory, got none")
    if run.stat().st_mode & stat.S_IWOTH:
        yield Diagnosis(".", _OPEN_TO_ALL, is_right=False)
    yield from _journal(run)
    yield from _settings(run)
    for name in ("splits.npz", "best.keras"):
        if _is_file(run / name):
            yield _packed(run, name)
    for name in ("island.json", "detached.json", "run.zarr/zarr.json"):
        if _is_file(run / name) and not (run / name).parent.is_symlink():
            yield _json(run, name)
    yield from _networks(run)
    yield from _others(run)
    for folder in folders_of(run).values():
        for found in examine(folder):
            name = folder.relative_to(run).as_posix()
            yield replace(found, file=f"{name}/{found.file}")


def repair(run: Path, findings: list[Diagnosis]) -> Iterator[str]:
    """Repair what can be repaired, and yield what was done, in words.

    Raises
    ------
    RunError
        If a driver holds the run, or it cannot be written.
    """
    for folder in (run, *folders_of(run).values()):
        if os.path.lexists(folder / JOURNAL):
            with Journal(folder / JOURNAL) as journal:
                for done in journal.repairs:
                    journal.append([{"event": "note", "time": round(time.time(), 3), "message": done}])
                    yield f"{folder.relative_to(run) / JOURNAL}: {done}"
    for found in findings:
        if found.fix is not None:
            try:
                words = found.fix()
            except OSError as error:
                raise RunError(f"{run / found.file}: cannot be repaired: {error.strerror}") from error
            yield f"{found.file}: {words}"


def _journal(run: Path) -> Iterator[Diagnosis]:
    path = run / JOURNAL
    if not os.path.lexists(path):
        is_begun = not folders_of(run) and os.path.lexists(run / SETTINGS)
        yield Diagnosis(JOURNAL, "there is none", is_right=not is_begun)
        return
    try:
        state = state_of(path)
        version = [event.get("version") for event in read_journal(path, "started")][-1:]
    except (OSError, RunError) as error:
        yield Diagnosis(JOURNAL, getattr(error, "strerror", None) or str(error), is_right=False)
        return
    who = holder(run)
    text = f"{counted(state.whole, 'line')}, {counted(state.results, 'result')}"
    if version and version[0]:
        text += f", last written by menndl_dask {version[0]}"
    wrong = state.in_words()
    if who is not None:
        text += f"; a driver runs: {who}"
        wrong = "" if state.torn and state.damaged == 1 else wrong  # it is writing that line
    if wrong:
        yield Diagnosis(JOURNAL, f"{wrong}; {text}", is_right=False, is_of_journal=True)
    else:
        yield Diagnosis(JOURNAL, text)
    for saved in sorted(path.parent.glob(f"{SAVED}*")):
        what = "lines that a driver could not append; the next start takes them in"
        yield Diagnosis(saved.name, what, is_right=False, is_of_journal=True)


def _settings(run: Path) -> Iterator[Diagnosis]:
    path = run / SETTINGS
    if not os.path.lexists(path):
        begun = _results(run)
        again = "restore it from a copy, or the run cannot be resumed" if begun else "the first driver writes it"
        yield Diagnosis(SETTINGS, f"there is none; {again}", is_right=not begun)
        return
    try:
        settings = read_settings(path)
        as_written = is_as_written(path)
    except (RunError, OSError) as error:
        yield Diagnosis(SETTINGS, f"{str(error).removeprefix(f'{path}: ')}; restore it from a copy", is_right=False)
        return
    versions = settings.get("versions")
    version = versions.get("menndl-dask") if isinstance(versions, dict) else None
    if as_written is False:
        text = "it was changed since menndl_dask wrote it, by hand or by damage: its checksum is another"
        yield Diagnosis(SETTINGS, text, is_right=False)
    else:
        text = "its checksum is right" if as_written else "without a checksum, as before version 0.4.0"
        yield Diagnosis(SETTINGS, f"written by menndl_dask {version}; {text}")


def _results(run: Path) -> bool:
    with suppress(RunError):
        return next(read_journal(run / JOURNAL, "told"), None) is not None
    return False


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()  # anything else is told with the other files


def _packed(run: Path, name: str) -> Diagnosis:
    """Look through a file that is a zip archive: every part of it has a checksum."""
    path = run / name
    try:
        with (
            reading(path, RunError),
            os.fdopen(files.open_regular(path, root=whole_run(run)), "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            names = set(archive.namelist())
            size = sum(each.file_size for each in archive.infolist())
            if size > _MOST_UNPACKED:
                return Diagnosis(name, f"it would have {size / 2**30:.0f} GiB; not looked through", is_right=False)
            damaged = archive.testzip()
    except RunError as error:
        return Diagnosis(name, str(error).removeprefix(f"{path}: "), False, _aside(path))
    missing = [part for part in _KERAS if part not in names] if name.endswith(".keras") else []
    if damaged is not None or missing:
        what = f"damaged: {damaged}" if damaged is not None else f"without {', '.join(missing)}"
        return Diagnosis(name, what, False, _aside(path))
    return Diagnosis(name, "whole")


def _json(run: Path, name: str) -> Diagnosis:
    path = run / name
    try:
        with reading(path, RunError):
            values = json.loads(files.read_text(path, root=whole_run(run)))
    except RunError as error:
        return Diagnosis(name, str(error).removeprefix(f"{path}: "), False, _aside(path))
    if not isinstance(values, dict):
        return Diagnosis(name, "expected keys with values", False, _aside(path))
    return Diagnosis(name, "can be read")


def _networks(run: Path) -> Iterator[Diagnosis]:
    """Look through the trained networks, and their genomes, which the journal has too."""
    for top in ("networks", "standard"):
        folder = run / top
        if folder.is_symlink() or not folder.is_dir():
            continue  # told with the other files
        for path in sorted((folder, *folder.iterdir())):
            name = path.relative_to(run).as_posix()
            if path.is_symlink():
                away = run / name.replace("/", "-")  # a driver removes what it does not know in this folder
                yield Diagnosis(name, "expected a folder, got a symbolic link", False, _aside(path, away))
            elif path.is_dir():
                for file in sorted(path.glob("*.keras")):
                    yield _packed(run, file.relative_to(run).as_posix())
    genomes = sorted((run / "networks").glob("*/genome.json")) if not (run / "networks").is_symlink() else []
    for path in genomes:
        if not path.parent.is_symlink():
            found = _json(run, path.relative_to(run).as_posix())
            yield found if found.is_right else Diagnosis(found.file, found.text, False, _genome_again(run, path))


def _genome_again(run: Path, path: Path) -> Callable[[], str]:
    """Return how to write ``genome.json`` again from the journal; it is only set aside if the journal has it not."""

    def fix() -> str:
        said = _aside(path)()
        for event in read_journal(run / JOURNAL, "asked", "told", "migrated"):
            individual = event.get("individual")
            if isinstance(individual, dict) and str(individual.get("id")).zfill(8) == path.parent.name:
                files.write_text(path, json.dumps(individual.get("genome"), indent=1) + "\n", root=whole_run(run))
                return f"{said}; written again from the journal"
        return said

    return fix


def _aside(path: Path, name: Path | None = None) -> Callable[[], str]:
    """Return how to give a file another name, by default like its own, so that it can be written anew."""

    def fix() -> str:
        stem = name or path
        copy = stem.with_name(f"{stem.name}.dropped-{time.strftime('%Y%m%dT%H%M%S')}")
        if os.path.lexists(copy):
            raise OSError(0, f"{copy.name} exists already", str(copy))
        path.rename(copy)
        files.flush_folder(path.parent)
        return f"set aside as {copy.name}"

    return fix


def _others(run: Path) -> Iterator[Diagnosis]:
    """Yield what does not belong into a run directory, and what earlier drivers and repairs have left."""
    left = set(files.leftovers(run))
    for path in sorted(run.iterdir()):
        mode = path.lstat().st_mode
        kind = files.kind_of(mode)
        expected = "a folder" if path.name in _FOLDERS else "a file"
        if ".dropped-" in path.name:
            yield Diagnosis(path.name, "kept by an earlier repair; remove it when you do not need it")
        elif path in left:
            yield Diagnosis(path.name, "left by a killed process; a driver removes it after an hour")
        elif path.name in (JOURNAL, SETTINGS):
            continue
        elif kind not in ("a file", "a folder") or (path.name in (*_FOLDERS, *_FILES) and kind != expected):
            yield Diagnosis(path.name, f"expected {expected}, got {kind}", False, _aside(path))
        elif mode & stat.S_IWOTH:
            yield Diagnosis(path.name, _OPEN_TO_ALL, is_right=False)
    stop = run / "stop"
    if stop.is_file() and not stop.is_symlink():
        with suppress(OSError):
            yield Diagnosis("stop", f"a driver is asked to stop, by {files.read_text(stop, at_most=1000).strip()}")


_FILES = (
    ".lock", "splits.npz", "best.keras", "report.html", "stop", "island.json", "detached.json",
    "driver.txt", "drivers.txt",
)  # fmt: skip
