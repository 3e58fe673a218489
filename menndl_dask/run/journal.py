"""The journal of a run: one checksummed JSON line an event, only ever appended to. Runs on the driver.

A line is a JSON object that begins with its kind, ``event``, and ends with ``crc``, the CRC-32 of the object without
it, so that any JSON reader can read the journal and damage is detected. The writer holds a lock, which ends with its
process in any case.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from menndl_dask import files
from menndl_dask.errors import RunError
from menndl_dask.run.layout import whole_run

Event = dict[str, Any]
_HOLDER = 1000  # bytes of the words that name a holder, at most
_ATTEMPTS, _LOOK_S = 5, 0.02  # to lock a journal that another process looks at
_TAIL = len(',"crc":"00000000"}')


def line_of(event: Mapping[str, Any]) -> bytes:
    r"""Return an event as a line of the journal.

    >>> line_of({"event": "note", "message": "2 workers"})
    b'{"event":"note","message":"2 workers","crc":"6a52e8c2"}\n'
    """
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=True).encode()
    return b'%s,"crc":"%08x"}\n' % (body[:-1], crc32(body))


def is_whole(line: bytes) -> bool:
    """Return whether a line is complete and its checksum is right."""
    if not line.endswith(b'"}\n') or len(line) <= _TAIL + 1:
        return False
    body, tail = line[: -_TAIL - 1] + b"}", line[-_TAIL - 1 : -1]
    return tail == b',"crc":"%08x"}' % crc32(body)


def read_journal(path: Path, *kinds: str) -> Iterator[Event]:
    """Yield the events of a journal in order, of the given kinds or of all, one line in memory at a time.

    A torn line at the end is ignored.

    Raises
    ------
    RunError
        If a damaged line is followed by whole ones.
    """
    starts = tuple(f'{{"event":"{kind}"'.encode() for kind in kinds)
    try:
        for line in _whole_lines(path):
            if not kinds or line.startswith(starts):
                yield json.loads(line)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error


def _whole_lines(path: Path) -> Iterator[bytes]:
    damaged = 0
    with os.fdopen(files.open_regular(path, root=whole_run(path.parent)), "rb") as file:
        for number, line in enumerate(file, 1):
            if not is_whole(line):
                damaged = damaged or number
            elif damaged:
                raise RunError(
                    f"{path}: line {damaged}: expected a whole event with its checksum, got a damaged line that whole "
                    "ones follow; restore the journal from a copy, or begin another run"
                )
            else:
                yield line


class Journal:
    """Writes a journal; one driver at a time. ``.lock`` beside it names the writer.

    Attributes
    ----------
    dropped
        Bytes of torn lines that were cut off its end on opening.

    Raises
    ------
    RunError
        If another driver holds the run, the file is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _locked(path.with_name(".lock"))
        try:
            before = path.stat().st_size if path.exists() else 0
            self._size = sum(len(line) for line in _whole_lines(path)) if before else 0
            self._file = files.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.ftruncate(self._file, self._size)
        except OSError as error:
            os.close(self._lock)
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
        except RunError:
            os.close(self._lock)
            raise
        self.dropped = before - self._size

    def append(self, events: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Append events, all at once, on the disk when this returns.

        If not `flush`, they survive the end of the process, and are on the disk with the next events.

        Raises
        ------
        RunError
            If they cannot be written; the journal then contains none of them.
        """
        data = b"".join(map(line_of, events))
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if flush:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)  # or the next line would follow half of one
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._size += len(data)

    def close(self) -> None:
        """Flush, and release the journal for other drivers."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            os.close(self._lock)
            self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def holder(run: Path) -> str | None:
    """Return which process drives a run, as written in its lock; None if no process does."""
    lock = run / ".lock"
    try:
        with os.fdopen(files.open_regular(lock, root=whole_run(run)), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return files.read_text(lock, at_most=_HOLDER).strip() or "unknown"
    except OSError:  # there is none, or the file system has no locks
        return None
    return None


def check_free(run: Path) -> None:
    """Check that no driver runs a search in a directory, before workers are started for it.

    Raises
    ------
    RunError
        If another driver does, or a file is in its place.
    """
    if any(path.is_file() for path in (run, *run.parents)):
        raise RunError(f"{run}: expected a run directory, got a file of that name or on the way to it")
    if (held := holder(run)) is not None:
        raise _held(run, held)


def _held(run: Path, who: str) -> RunError:
    return RunError(f"{run}: held by another driver ({who}); one at a time")


def _locked(path: Path) -> int:
    """Return the locked file; the kernel unlocks it when its holder ends, also by ``kill -9``."""
    try:
        # not inherited by worker processes, which may outlive a killed driver
        file = files.open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        for _ in range(_ATTEMPTS):  # `holder` locks it too, but for an instant only
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOOK_S)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 200, 0).decode(errors="replace").strip()
        os.close(file)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _held(path.parent, holder or "unknown") from None
        wrong = f"cannot be locked ({error.strerror}); put the run on a file system with locks"
        raise RunError(f"{path}: {wrong}") from error
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(file, 0)
    os.pwrite(file, f"host {socket.gethostname()}, process {os.getpid()}, since {since}\n".encode(), 0)
    return file
