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
import tempfile
import time
from pathlib import Path
from typing import IO, Self

from menndl_dask.errors import NodeError

_SUFFIX = ".in-use"


class Scratch:
    """A directory in use by this process; it is created if it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _locked(path.with_name(path.name + _SUFFIX))
        path.mkdir(exist_ok=True)

    @classmethod
    def shared(cls, name: str, base: Path | None = None) -> Self:
        """Use the directory that all processes of this user on this node share under a name.

        It is below `base`, a directory on a disk of the node; by default the system's directory for temporary files.

        Raises
        ------
        NodeError
            If the directory cannot be written, or belongs to another user.
        ValueError
            If the name is not that of one directory: the parent of all of them would be removed with it.
        """
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"expected the name of a directory, got {name!r}")
        parent = (base or Path(tempfile.gettempdir())) / f"menndl-{os.getuid()}"
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = parent.stat().st_uid
            if owner != os.getuid():
                raise NodeError(f"{parent}: expected a directory of this user, it belongs to user {owner}")
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
            _remove(self.path, self._file)
        return True


def remove_unused(parent: Path) -> None:
    """Remove the directories that no process uses any more, such as those of processes that were killed."""
    for lock_file in parent.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError), lock_file.open("r+") as file:
            if _lock(file, fcntl.LOCK_EX):
                _remove(lock_file.with_name(lock_file.name.removesuffix(_SUFFIX)), file)


def _locked(path: Path) -> IO[str]:
    """Return the lock file, open and with a shared lock; if it was removed meanwhile it is created again."""
    while True:
        file = path.open("a+")
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_current(path, file):
            return file
        file.close()


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(path: Path, file: IO[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False


def _remove(path: Path, file: IO[str]) -> None:
    """Remove a directory and then its lock file, which is locked.

    If another process was first, a third one may use the directory by now, with a new lock file.
    """
    lock_file = Path(file.name)
    if _is_current(lock_file, file):
        shutil.rmtree(path, ignore_errors=True)
        lock_file.unlink(missing_ok=True)
