"""Scratch space on a node, shared by processes and removed with the last one. Runs on a worker and in the trainer.

Each process that uses a directory holds a shared lock on a file beside it; the system releases the lock however the
process ends. A process that gets an exclusive lock is the last one, and removes the directory. What a killed process
left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO, Self

from menndl_dask.errors import NodeError

_SUFFIX = ".in-use"


class Scratch:
    """A directory in use by this process; it is created if it does not exist, for this user alone.

    Raises
    ------
    NodeError
        If something else is in its place.
    OSError
        If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file = path.with_name(path.name + _SUFFIX)
        _make_private(path.parent)
        self._file = _locked(self._lock_file)
        try:
            _make_private(path)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def shared(cls, name: str, base: Path | None = None) -> Self:
        """Use the directory that all processes of this user on this node share under a name.

        It is below `base`, a directory on a disk of the node; by default the system's directory for temporary files.

        Raises
        ------
        NodeError
            If the directory cannot be written, is a symbolic link, or belongs to another user.
        ValueError
            If the name is not that of one directory: the parent of all of them would be removed with it.
        """
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"expected the name of a directory, got {name!r}")
        base = base or Path(tempfile.gettempdir())
        parent = base / f"menndl-{os.getuid()}"
        try:
            for missing in reversed([each for each in (base, *base.parents) if not each.exists()]):
                missing.mkdir(mode=0o755, exist_ok=True)
            _make_private(parent)
            remove_unused(parent)
            return cls(parent / name)
        except OSError as error:
            raise NodeError(f"{parent}: cannot be written to: {error.strerror}") from error

    def release(self, patience: float = 0.0) -> bool:
        """Stop using the directory, and remove it if no other process uses it; return whether it was removed.

        `patience` is in seconds, for other processes that are just ending.
        """
        deadline = time.monotonic() + patience
        with self._file:
            while not _lock(self._file, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)
            _remove(self.path, self._lock_file, self._file)
        return True


def remove_unused(parent: Path) -> None:
    """Remove the directories that no process uses any more, such as those of processes that were killed."""
    for lock_file in parent.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError, NodeError), _opened(lock_file, os.O_RDWR) as file:
            if _lock(file, fcntl.LOCK_EX):
                _remove(lock_file.with_name(lock_file.name.removesuffix(_SUFFIX)), lock_file, file)


def _make_private(path: Path) -> None:
    """Make a directory that only this user can use, and check that one which exists is so.

    In a directory for temporary files anybody can make one, or a link to another place, with a name that is known.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        got = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "something else"
        raise NodeError(f"{path}: expected a directory, got {got}")
    if found.st_uid != os.getuid():
        raise NodeError(f"{path}: expected a directory of this user, it belongs to user {found.st_uid}")
    if stat.S_IMODE(found.st_mode) != 0o700:
        with contextlib.suppress(PermissionError):  # some file systems have no modes
            path.chmod(0o700)


def _opened(path: Path, flags: int) -> IO[bytes]:
    """Return a lock file, open; a link is not followed, and a fifo does not make this wait."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    file = os.fdopen(number, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise NodeError(f"{path}: expected a file, got something else")
    return file


def _locked(path: Path) -> IO[bytes]:
    """Return the lock file, open and with a shared lock; if it was removed meanwhile it is created again."""
    while True:
        file = _opened(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_current(path, file):
            return file
        file.close()


def _lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(path: Path, file: IO[bytes]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    return False


def _remove(path: Path, lock_file: Path, file: IO[bytes]) -> None:
    """Remove a directory and then its lock file, which is locked.

    If another process was first, a third one may use the directory by now, with a new lock file.
    """
    if _is_current(lock_file, file):
        shutil.rmtree(path, ignore_errors=True)
        lock_file.unlink(missing_ok=True)
