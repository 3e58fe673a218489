"""The repair of a damaged journal before a driver carries on: whole lines are kept, none is cut. Runs on the driver.

The journal as it was stays beside the new one, as ``journal.jsonl.dropped-TIME``. Whole lines that an earlier driver
could not append, and saved beside the journal, are taken in.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from menndl_dask import files
from menndl_dask.run.journal_line import Part, parts_of
from menndl_dask.run.layout import whole_run
from menndl_dask.text import counted

DROPPED, SAVED = "journal.jsonl.dropped-", "journal.jsonl.saved-"
_SHOWN = 8  # networks that a message names


@dataclass(slots=True)
class State:
    """What a journal holds."""

    whole: int = 0  # lines
    rewritten: int = 0  # of them not as they were written, but with their checksum
    exact_bytes: int = 0  # of the others
    size: int = 0  # of the file, in bytes
    damaged: int = 0  # pieces: lines, or parts of lines
    damaged_bytes: int = 0
    torn: bool = False  # whether the last piece is damaged
    results: int = 0
    lost: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # networks of damaged events, by kind
    alone: list[int] = field(default_factory=list)  # networks that have a result, but no genome

    @property
    def is_exact(self) -> bool:
        """Whether every byte is as a driver wrote it."""
        return self.exact_bytes == self.size

    def in_words(self) -> str:
        """Return what is not as it should be; empty if all is."""
        parts = []
        if self.damaged:
            only_torn = self.torn and self.damaged == 1
            what = "a torn line at its end" if only_torn else counted(self.damaged, "damaged line")
            parts.append(f"{what} ({counted(self.damaged_bytes, 'byte')})")
        if self.rewritten:
            parts.append(f"{counted(self.rewritten, 'line')} written anew by another program")
        if not parts and not self.is_exact:
            parts.append("another encoding, or blank lines")
        for kind, what in (("told", "the result of"), ("asked", "the genome of"), ("migrated", "the migrant")):
            if self.lost.get(kind):
                parts.append(f"lost: {what} {_networks(self.lost[kind])}")
        if self.alone:
            parts.append(f"without a genome, so that its result is lost: {_networks(self.alone)}")
        return "; ".join(parts)


def _networks(numbers: Collection[int]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:_SHOWN]))
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"network{'s' if len(numbers) > 1 else ''} {shown}{more}"


def state_of(path: Path) -> State:
    """Return what a journal holds.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    state = State()
    asked: set[int] = set()
    with_result: set[int] = set()
    with_genome: set[int] = set()
    for part in _parts(path):
        state.torn = part.line is None
        if part.line is None:
            state.damaged += 1
            state.damaged_bytes += len(part.raw)
            if part.kind and part.id is not None:
                state.lost[part.kind].append(part.id)
            continue
        state.whole += 1
        state.rewritten += part.line != part.raw
        state.exact_bytes += len(part.raw) if part.line == part.raw else 0
        if part.kind in ("asked", "told") and part.id is not None:
            (asked if part.kind == "asked" else with_result).add(part.id)
            if part.kind == "told" and b',"individual":{' in part.line:
                with_genome.add(part.id)
    state.size = path.stat().st_size
    state.results = len(with_result)
    state.lost["told"] = sorted(set(state.lost["told"]) - with_result)
    state.alone = sorted(with_result - asked - with_genome)
    state.lost["asked"] = sorted(set(state.lost["asked"]) - with_result - asked)
    return state


def _parts(path: Path) -> Iterator[Part]:
    with os.fdopen(files.open_regular(path, root=whole_run(path.parent)), "rb") as file:
        yield from parts_of(file)


class Repaired(NamedTuple):
    """A journal that has whole lines only."""

    file: int  # opened and locked
    done: list[str]  # what was done, in words
    dropped: int  # bytes of damage that were set aside


def repaired(path: Path, file: int) -> Repaired:
    """Give a journal whole lines only.

    `file` is the journal, opened and locked; it is closed if another takes its place.

    Raises
    ------
    OSError
        If the journal cannot be read, or the new one cannot be written. The old one is then as it was.
    """
    done = []
    state = state_of(path)
    if not state.is_exact:
        file, copy = _rewritten(path, file)
        kept = f"{counted(state.whole, 'whole line')} with {counted(state.results, 'result')} kept"
        done.append(f"the journal had {state.in_words()}; {kept}; the file as it was: {copy}")
    elif os.fstat(file).st_nlink > 1:  # what is appended must not change a copy of the run that shares the file
        file, _ = _rewritten(path, file, keep=False)
    for saved in sorted(path.parent.glob(f"{SAVED}*")):
        with suppress(FileNotFoundError):
            count = _take_in(path, file, saved)
            done.append(f"{counted(count, 'line')} that an earlier driver could not append: taken in from {saved.name}")
    return Repaired(file, done, state.damaged_bytes)


def _rewritten(path: Path, file: int, *, keep: bool = True) -> tuple[int, str]:
    """Write a journal anew with its whole lines; return the new file, locked, and the name that the old one has."""
    copy = ""
    new = -1
    try:
        with files.replacing(path, root=whole_run(path.parent)) as partial:
            os.close(files.create(partial))
            new = files.open_regular(partial, os.O_RDWR | os.O_APPEND)
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before it has the name
            with os.fdopen(os.dup(new), "wb") as writing:
                writing.writelines(part.line for part in _parts(path) if part.line is not None)
            shutil.copymode(path, partial)
            copy = _kept(path) if keep else ""
    except BaseException:
        if new >= 0:
            os.close(new)
        raise
    os.close(file)
    return new, copy


def _kept(path: Path) -> str:
    """Give a journal a second name, which it keeps when another takes its place; return that name."""
    stem = f"{DROPPED}{time.strftime('%Y%m%dT%H%M%S')}"
    names = (stem if number == 0 else f"{stem}-{number}" for number in range(1000))
    copy = next(each for each in map(path.with_name, names) if not os.path.lexists(each))
    try:
        os.link(path, copy, follow_symlinks=False)
        files.flush_folder(path.parent)
    except OSError:  # the file system has no second names
        with (
            files.replacing(copy) as partial,
            os.fdopen(files.open_regular(path), "rb") as source,
            os.fdopen(files.create(partial), "wb") as target,
        ):
            shutil.copyfileobj(source, target)
    return copy.name


def _take_in(path: Path, file: int, saved: Path) -> int:
    """Append the lines that an earlier driver saved and that the journal has not; return how many."""
    there = {part.line for part in _parts(path)}
    parts = list(_parts(saved))
    missing = [part.line for part in parts if part.line is not None and part.line not in there]
    before = os.fstat(file).st_size
    try:
        rest = memoryview(b"".join(missing))
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, before)
        raise
    if all(part.line is not None for part in parts):
        saved.unlink()
    else:
        saved.rename(saved.with_name(saved.name.replace(SAVED, DROPPED)))
    return len(missing)
