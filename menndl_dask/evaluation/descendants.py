"""The processes that a training starts: found, counted and ended. Runs in the trainer and on a worker.

A process may leave its group and its session, and its parent may end before it (a daemon). On Linux the trainer adopts
such orphans: they remain its descendants, and it ends them. A worker whose trainer was killed finds what that left
behind by a mark in the environment, which processes inherit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "MENNDL_STARTED_BY"  # environment variable: random names of the child processes that a process descends from
_PR_SET_CHILD_SUBREAPER = 36  # from <sys/prctl.h>
_PROC = Path("/proc")
_PATIENCE = 30.0  # seconds to end descendants: thousands take as long, and may start others meanwhile
_ADOPTING: set[int] = set()  # this process, if it adopts orphans


def adopt_orphans() -> None:
    """Become the parent of each descendant whose own parent ends (Linux only)."""
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0:
        _ADOPTING.add(os.getpid())


def descendants(process: int) -> list[int]:
    """Return the numbers of the descendants of a process, also those that have ended and were not waited for."""
    if not (_PROC / f"self/task/{os.getpid()}/children").exists():  # another system, or a kernel without it
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(process).children(recursive=True)]
        return []
    found = _children(process)
    for each in found:  # grows meanwhile
        found += _children(each)
    return found


def family(training: int) -> list[int]:
    """Return the numbers of a training, the only one of this process, and of all processes that it has started.

    Adopted ones that have ended are waited for, so that the system frees their numbers.
    """
    if os.getpid() not in _ADOPTING:
        return [training, *descendants(training)]
    for child in _children(os.getpid()):
        if child != training:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
    return [training, *(each for each in descendants(os.getpid()) if each != training)]


def end_descendants(patience: float = _PATIENCE) -> list[int]:
    """Kill the descendants of this process until there are none; return those that are left after some seconds.

    Where orphans are adopted, only the children are looked for, which is one file to read however many there are: what
    these have started are the children of the next round.
    """
    deadline = time.monotonic() + patience
    find = _children if os.getpid() in _ADOPTING else descendants
    while True:
        left = find(os.getpid())
        if not left or time.monotonic() > deadline:
            return left
        kill(left)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.001)


def end_marked(name: str, patience: float = _PATIENCE) -> None:
    """Kill the processes of this user that have a name in their `MARK`, until there are none or some seconds passed."""
    deadline = time.monotonic() + patience
    while (found := _marked(name.encode())) and time.monotonic() < deadline:
        kill(found)
        time.sleep(0.005)


def kill(processes: Iterable[int]) -> None:
    """Kill processes, as far as they exist."""
    for each in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _children(process: int) -> list[int]:
    """Return the children of a process: each of its threads has its own."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.scandir(f"{_PROC}/{process}/task"):  # several times faster than with paths
            with contextlib.suppress(OSError), open(f"{thread.path}/children", "rb") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    return found


def _marked(name: bytes) -> list[int]:
    if not _PROC.exists():
        return []
    found = []
    for folder in _PROC.glob("[1-9]*"):
        with contextlib.suppress(OSError):  # of another user, or gone
            if name in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found
