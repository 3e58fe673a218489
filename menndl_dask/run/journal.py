"""The journal of a run: one checksummed JSON line an event, only ever appended to. Runs on the driver.

`menndl_dask.run.journal_line` has the form of a line, and `menndl_dask.run.journal_repair` what happens to damage. The
writer holds a lock on the journal itself and on ``.lock``, which names it; both end with its process in any case.
Before each event it looks whether the journal is still the file that it opened, as it left it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from menndl_dask import __version__, files
from menndl_dask.errors import JournalError, RunError, one_line
from menndl_dask.run.journal_line import Event, is_whole, line_of, parts_of
from menndl_dask.run.journal_repair import SAVED, repaired
from menndl_dask.run.layout import whole_run
from menndl_dask.text import counted

__all__ = ["JOURNAL", "Event", "Journal", "check_free", "holder", "is_whole", "line_of", "read_journal", "written"]

JOURNAL, _LOCK = "journal.jsonl", ".lock"
FORMAT = 1  # of the journal; higher only where versions that know it not must not go on
_HOLDER = 1000  # bytes of the words that name a holder, at most
_ATTEMPTS, _LOOK_S = 5, 0.02  # to lock a journal that another process looks at
_ROOM_BYTES = 4096  # that must be free where a run is written
_ROOM = "make room, then the same command again"
_SAFE = "all results so far are in it"
_STARTED = b'{"event":"started"'
_RESULTS = ("told", "migrated", "compared", "contender", "final", "measured")


def read_journal(path: Path, *kinds: str) -> Iterator[Event]:
    """Yield the events of a journal in order, of the given kinds or of all, one line in memory at a time.

    Damage is passed over: a torn line at the end while a driver writes, and what `journal_repair` sets aside when the
    next one begins.

    Raises
    ------
    RunError
        If the file cannot be read, or a later version has written what this one does not understand.
    """
    starts = tuple(f'{{"event":"{kind}"'.encode() for kind in kinds)
    try:
        with os.fdopen(files.open_regular(path, root=whole_run(path.parent)), "rb") as file:
            for line, _ in parts_of(file):
                if line is None or (kinds and not line.startswith((*starts, _STARTED))):
                    continue
                event = _understood(path, line)
                if not kinds or event.get("event") in kinds:
                    yield event
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error


def _understood(path: Path, line: bytes) -> Event:
    """Return the event of a whole line, checked."""
    try:
        event: Event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: has an event that cannot be read: {one_line(error)}") from error
    kind = event.get("event")
    if kind == "started" and event.get("format", FORMAT) != FORMAT:
        theirs = f"was written in format {event['format']!r} by menndl_dask {event.get('version')}"
        raise RunError(f"{path}: {theirs}; this version, {__version__}, reads format {FORMAT}")
    return event


def written(path: Path) -> str:
    """Return in words which version last wrote a journal, for messages; empty if it is this one or not known."""
    version = None
    with suppress(RunError, OSError):
        for event in read_journal(path, "started"):
            version = event.get("version", version)
    return "" if version in (None, __version__) else f"; menndl_dask {version} wrote it, this is {__version__}"


class Journal:
    """Writes a journal; one driver at a time. ``.lock`` beside it names the writer.

    Attributes
    ----------
    repairs
        What was set aside, changed or taken in on opening, in words for the user; usually none.
    dropped
        Bytes of damage that were set aside on opening.

    Raises
    ------
    RunError
        If another driver holds the run, or the journal cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lost: JournalError | None = None  # no event can be appended any more
        self._failed = False  # the last event could not be appended
        self._file = _locked_journal(path)
        self._lock = -1
        try:
            self._lock = _locked(path.with_name(_LOCK))
            self._file, self.repairs, self.dropped = repaired(path, self._file)
            self._size = os.fstat(self._file).st_size
            _name_holder(self._lock)
        except OSError as error:
            self._release()
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
        except BaseException:
            self._release()
            raise

    @property
    def has_failed(self) -> bool:
        """Whether the last event could not be appended."""
        return self._failed

    def check(self) -> None:
        """Check that the journal is still in its place, and as this driver left it.

        Raises
        ------
        JournalError
            If it is not.
        """
        self.append(())

    def append(self, events: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Append events, all at once, on the disk when this returns.

        If not `flush`, they survive the end of the process, and are on the disk with the next events.

        Raises
        ------
        JournalError
            If they cannot be written, or another program has changed the journal. The journal then contains none of
            them; where possible they are saved in another file.
        """
        if self._lost is not None:
            raise self._lost
        lines = [line_of(event) for event in events]
        moved = self._changed(lines)
        try:
            rest = memoryview(b"".join(lines))
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if flush and lines:
                os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)  # or the next line would follow half of one
            advice = _ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            failure = self._lose(f"cannot be written: {error.strerror}", lines, advice)
            self._lost = None  # there may be room again
            raise failure from error
        self._failed = False
        self._size += sum(map(len, lines))
        if moved:
            with suppress(OSError):
                os.fsync(self._file)
            self._failed = True
            self._lost = JournalError(f"{self.path}: {moved}")
            raise self._lost

    def _changed(self, lines: list[bytes]) -> str:
        """Look whether the journal is as it was left; return what is to be said if it was only moved.

        Otherwise `lines`, which are to be appended, are saved elsewhere.
        """
        try:
            own, now = os.fstat(self._file), _name_now(self._file, self.path)
            there = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            there = None
        except OSError as error:
            raise self._lose(f"cannot be reached: {error.strerror}", lines) from error
        if there is None or (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino):
            if own.st_nlink == 0 or now.name.startswith(".nfs"):  # as NFS calls deleted files that are open
                was = "deleted" if there is None else "replaced by another file"
                raise self._lose(f"was {was} while the driver ran", lines, keep=True)
            if not _is_file(own, now):  # where the file system is gone, but open files of it can be used
                raise self._lose("cannot be found any more", lines, keep=True)
            if now.name == self.path.name and now.parent != self.path.parent.resolve():
                return f"the run was moved to {now.parent} while the driver ran; {_SAFE}; carry on with its new name"
            if there is None:
                return f"was renamed to {now.name} while the driver ran; {_SAFE}; give it its name again"
            raise self._lose("was replaced by another file while the driver ran", lines, keep=True)
        if own.st_size != self._size:
            what = "cut" if own.st_size < self._size else "written to"
            sizes = f"{self._size:,} bytes are {own.st_size:,}"
            advice = "what was cut is evaluated again, unless you restore it" if what == "cut" else ""
            raise self._lose(f"was {what} by another program while the driver ran: {sizes}", lines, advice)
        return ""

    def _lose(self, why: str, lines: list[bytes], advice: str = "", *, keep: bool = False) -> JournalError:
        """Save lines that cannot be appended, with all that was written if `keep`; return the error to raise."""
        results = sum(line.startswith(f'{{"event":"{kind}"'.encode()) for line in lines for kind in _RESULTS)
        unwritten = f"{counted(results, 'result')} not yet written" if results else ""
        said = f"{unwritten}: lost, and evaluated again" if unwritten else ""
        if lines or keep:
            saved = self._saved(lines, keep=keep)
            what = " and ".join(filter(None, ["what this driver wrote" if keep else "", unwritten]))
            beside = saved is not None and saved.parent == self.path.parent
            how = "the next start takes it in" if beside else f"add it to {self.path.name} before the next start"
            if saved is not None and what:
                said = f"{what}: saved in {saved}; {how}"
            elif keep:
                said = "what this driver wrote is lost"
        self._failed = True
        self._lost = JournalError("; ".join(filter(None, [f"{self.path}: {why}", said, advice])))
        return self._lost

    def _saved(self, lines: list[bytes], *, keep: bool) -> Path | None:
        """Write lines into a file beside the journal, or in the folder for temporary files; None if that fails too."""
        beside = self.path.with_name(f"{SAVED}{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
        for folder in (self.path.parent, Path(tempfile.gettempdir())):
            saved = folder / beside.name
            with suppress(OSError):
                with os.fdopen(files.create(saved), "wb") as file:
                    place = 0
                    while keep and (block := os.pread(self._file, 2**20, place)):
                        file.write(block)
                        place += len(block)
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())
                return saved
            with suppress(OSError):
                saved.unlink(missing_ok=True)
        return None

    def close(self) -> None:
        """Flush, and release the journal for other drivers."""
        if self._file < 0:
            return
        try:
            with suppress(*([OSError] if self._failed else [])):
                os.fsync(self._file)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}") from error
        finally:
            self._release()

    def _release(self) -> None:
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_file(own: os.stat_result, path: Path) -> bool:
    """Return whether a path is that of an open file."""
    try:
        there = path.lstat()
    except OSError:
        return False
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _name_now(file: int, path: Path) -> Path:
    """Return the path that an open file has now; `path` where the system does not say it."""
    try:
        return Path(f"/proc/self/fd/{file}").readlink()
    except OSError:
        return path


def holder(run: Path) -> str | None:
    """Return which process drives a run, as written in its lock; None if no process does."""
    for name in (_LOCK, JOURNAL):
        try:
            file = files.open_regular(run / name, root=whole_run(run))
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _named(run)
        except OSError:  # the file system has no locks
            continue
        finally:
            os.close(file)
    return None


def check_free(run: Path) -> None:
    """Check that no driver runs a search in a directory, and that it can be written to, before workers are started.

    Raises
    ------
    RunError
        If another driver does, a file is in its place, or it cannot be written to.
    """
    if any(path.is_file() for path in (run, *run.parents)):
        raise RunError(f"{run}: expected a run directory, got a file of that name or on the way to it")
    if (held := holder(run)) is not None:
        raise _held(run, held)
    there = next(folder for folder in (run, *run.absolute().parents) if folder.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(_ROOM_BYTES))
        if (run / JOURNAL).exists():
            os.close(files.open_regular(run / JOURNAL, os.O_RDWR | os.O_APPEND, root=whole_run(run)))
    except OSError as error:
        full = f"; {_ROOM}" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise RunError(f"{run}: cannot be written: {error.strerror}{full}") from error


def _held(run: Path, who: str) -> RunError:
    return RunError(f"{run}: held by another driver ({who}); one at a time")


def _named(run: Path) -> str:
    """Return the holder of a run as it is named in ``.lock``."""
    with suppress(OSError):
        return files.read_text(run / _LOCK, at_most=_HOLDER).strip() or "unknown"
    return "unknown"


def _locked_journal(path: Path) -> int:
    """Return the journal, opened and locked; it is made if it does not exist."""
    is_new = not os.path.lexists(path)
    for _ in range(_ATTEMPTS):  # it may be replaced between the two
        file = _locked(path)
        own, there = os.fstat(file), path.lstat() if os.path.lexists(path) else None
        if there is not None and (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino):
            if is_new:
                files.flush_folder(path.parent)
            return file
        os.close(file)
    raise RunError(f"{path}: expected a file that stays in its place, got one that others replace again and again")


def _locked(path: Path) -> int:
    """Return a file, opened and locked; the kernel unlocks it when its holder ends, also by ``kill -9``."""
    try:
        # not inherited by worker processes, which may outlive a killed driver
        file = files.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, root=whole_run(path.parent))
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
        os.close(file)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _held(path.parent, _named(path.parent)) from None
        wrong = f"cannot be locked ({error.strerror}); put the run on a file system with locks"
        raise RunError(f"{path}: {wrong}") from error
    return file


def _name_holder(file: int) -> None:
    """Write into the lock which process has it."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(file, 0)
    with suppress(OSError):  # of a full disk: the lock counts, not its words
        os.write(file, f"host {socket.gethostname()}, process {os.getpid()}, since {since}\n".encode())
