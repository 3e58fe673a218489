"""Scratch space on a node, shared by its processes, removed with the last. Runs on a worker and in the trainer.

Each process that uses a directory holds a shared lock on a file beside it; the system lets go of it however the
process ends. Who can have the lock alone is the last, and removes the directory; whoever comes later removes what was
left behind.
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
    """A directory in use by this process.

    Parameters
    ----------
    path
        The directory; it is made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _locked(path.with_name(path.name + _SUFFIX))
        path.mkdir(exist_ok=True)

    @classmethod
    def shared(cls, name: str, base: Path | None = None) -> Self:
        """Use the directory of that name that all processes of this user on this node share.

        Parameters
        ----------
        name
            What the processes have in common, such as a fingerprint of the data.
        base
            On a disk of the node; by default the system's directory for temporary files.

        Raises
        ------
        NodeError
            If nothing can be written there, or somebody else has made the place where it would lie.
        ValueError
            If the name is not that of one directory: the place of all of them would be removed with it.
        """
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"expected the name of a directory, got {name!r}")
        home = (base or Path(tempfile.gettempdir())) / f"menndl-{os.getuid()}"
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if home.stat().st_uid != os.getuid():
                raise NodeError(f"{home}: expected a directory of this user, it belongs to user {home.stat().st_uid}")
            remove_unused(home)
            return cls(home / name)
        except OSError as error:
            raise NodeError(f"{home}: cannot be written to: {error.strerror}") from error

    def release(self, patience: float = 0.0) -> bool:
        """Stop using the directory, and remove it if no other process uses it; return whether it was removed.

        Parameters
        ----------
        patience
            Seconds to wait for others that are just ending.
        """
        deadline = time.monotonic() + patience
        with self._file:
            while not _lock(self._file, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)
            _remove(self.path, self._file)
        return True


def remove_unused(home: Path) -> None:
    """Remove the directories in a place that no process uses any more, such as those of processes that were killed."""
    for mark in home.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError), mark.open("r+") as file:
            if _lock(file, fcntl.LOCK_EX):
                _remove(mark.with_name(mark.name.removesuffix(_SUFFIX)), file)


def _locked(mark: Path) -> IO[str]:
    """Return the mark, open and locked together with others; one that was removed meanwhile is made again."""
    while True:
        file = mark.open("a+")
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_current(mark, file):
            return file
        file.close()


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(mark: Path, file: IO[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(mark.stat(), os.fstat(file.fileno()))
    return False


def _remove(path: Path, file: IO[str]) -> None:
    """Remove a directory and its mark, which is locked; the mark goes last.

    Where whoever waited too was first, others may have come since: theirs is another mark.
    """
    mark = Path(file.name)
    if _is_current(mark, file):
        shutil.rmtree(path, ignore_errors=True)
        mark.unlink(missing_ok=True)
