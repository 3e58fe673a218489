"""The states of a folder that a power cut can leave: lost and reordered pages, sizes and names that were not flushed.

`Crashes` watches the calls by which a program changes a folder. What `fsync` of a file has returned for is on the disk;
of the rest each page may be there or not. Names are on the disk when their folder is flushed, else those of any moment
since may be there, in order, as on a file system with a journal of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = 64  # bytes; small, so that a short file has many
_CHANGES = ("write", "fsync", "replace", "rename", "link", "unlink", "ftruncate")

Names = dict[str, int]  # file names with the numbers of the files
State = dict[str, bytes]


class Crashes:
    """Watches a folder while a program writes; `states` are those after a power cut at any moment.

    `promised` is noted with each moment: what the program has been told is on the disk.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.promised: Any = None
        self._flushed: dict[int, bytes] = {}
        self._names: list[Names] = [{}]  # that may be on the disk: since the last flush of the folder
        self.states: list[tuple[State, Any]] = []
        self._seen: set[tuple[Any, ...]] = set()
        for name in _CHANGES:
            monkeypatch.setattr(os, name, self._watching(name, getattr(os, name)))

    def _watching(self, name: str, call: Any) -> Any:
        def watched(*given: Any, **options: Any) -> Any:
            self.look()
            result = call(*given, **options)
            if name == "fsync":
                self._flush(given[0])
            self.look()
            return result

        return watched

    def _flush(self, file: int) -> None:
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode):
            self._names = [self._now()[0]]
        else:
            self._flushed[found.st_ino] = os.pread(file, found.st_size, 0) if found.st_size else b""

    def _now(self) -> tuple[Names, dict[int, bytes]]:
        paths = [path for path in self.folder.iterdir() if path.is_file() and path.name != ".lock"]
        names = {path.name: path.stat().st_ino for path in paths}
        return names, {path.stat().st_ino: path.read_bytes() for path in paths}

    def look(self) -> None:
        """Note the states that a power cut at this moment could leave."""
        names, contents = self._now()
        if names != self._names[-1]:
            self._names.append(names)
        for each in self._names:
            known = {number: contents.get(number, self._flushed.get(number, b"")) for number in each.values()}
            for changed in set(each.values()) or {0}:
                others = {number: self._flushed.get(number, b"") for number in known}
                for content in self._contents(self._flushed.get(changed, b""), known.get(changed, b"")):
                    state = {name: {**others, changed: content}[number] for name, number in each.items()}
                    key = (*sorted(state.items()), repr(self.promised))
                    if key not in self._seen:
                        self._seen.add(key)
                        self.states.append((state, self.promised))

    @staticmethod
    def _contents(old: bytes, new: bytes) -> Iterator[bytes]:
        """Yield what may be on the disk of a file: each page as it was flushed or as it is now."""
        size = max(len(old), len(new))
        before, after = old.ljust(size, b"\0"), new.ljust(size, b"\0")
        differing = [page for page in range(0, size, PAGE) if before[page : page + PAGE] != after[page : page + PAGE]]
        count = len(differing)
        every = set(differing)
        choices = [set(), every, *({page} for page in differing), *(every - {page} for page in differing)]
        choices += [set(differing[:number]) for number in range(count)]
        choices += [set(differing[number:]) for number in range(count)]
        for chosen in choices:
            pages = ((after if page in chosen else before)[page : page + PAGE] for page in range(0, size, PAGE))
            mixed = b"".join(pages)
            yield mixed[: len(new)]
            if not chosen:
                yield old
