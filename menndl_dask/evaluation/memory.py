"""The memory of a training and of all processes that it has started. Runs in the trainer."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from menndl_dask.evaluation.descendants import family

_PROC = Path("/proc")
_LOOK_S = 0.25  # between two looks for processes that were started: a look at 50 threads takes 0.6 ms
_SPARING = 20.0  # shared pages are counted exactly in at most one of so many seconds: the system walks all pages


class Memory:
    """Compares the memory of a training, the only one of this process, with its limit."""

    def __init__(self, training: int, limit: int | None) -> None:
        self._training, self._limit = training, limit
        self._family, self._next_look = [training], 0.0
        self._exact = 0
        self._next_exact = 0.0

    def excess(self) -> str:
        """Return how much the training holds if that is too much, with the largest of its processes; else ""."""
        if time.monotonic() >= self._next_look:  # without a limit too: those that have ended are waited for there
            self._family, self._next_look = family(self._training), time.monotonic() + _LOOK_S
        if self._limit is None:
            return ""
        sizes = {process: resident_bytes(process) for process in self._family}
        total = sum(sizes.values())
        if total <= self._limit:
            return ""
        others = sum(map(bool, sizes.values())) - bool(sizes[self._training])
        if others:
            total = min(total, max(*sizes.values(), self._without_shared(list(sizes))))
            if total <= self._limit:
                return ""
        amount = f"held {total / 1e6:.0f} MB where {self._limit / 1e6:.0f} MB are allowed"
        if not others:
            return f"it {amount}"
        largest = max(sizes, key=lambda process: sizes[process])
        which = "the training itself" if largest == self._training else f"process {largest} ({_name(largest)})"
        started = f"{others} process{'es' if others > 1 else ''} that it started"
        return f"it and {started} {amount}, most of it {which} with {sizes[largest] / 1e6:.0f} MB"

    def _without_shared(self, processes: list[int]) -> int:
        """Return the memory of processes in bytes, with each page that several share counted once."""
        began = time.monotonic()
        if began >= self._next_exact:
            self._exact = sum(map(_proportional_bytes, processes))
            now = time.monotonic()
            self._next_exact = now + _SPARING * (now - began)
        return self._exact


def resident_bytes(process: int) -> int:
    """Return the memory of a process in bytes; 0 if it has ended.

    On Linux pages of mapped files are not counted: the system may drop them, and the staged samples are such files.
    """
    try:
        if not _PROC.exists():
            return int(psutil.Process(process).memory_info().rss)
        return _kilobytes(f"{process}/status", "RssAnon:", "RssShmem:") * 1024
    except (OSError, psutil.Error):
        return 0


def _proportional_bytes(process: int) -> int:
    """Return the memory of a process, of shared pages its share."""
    try:
        found = _kilobytes(f"{process}/smaps_rollup", "Pss_Anon:", "Pss_Shmem:")
        return (found or _kilobytes(f"{process}/smaps_rollup", "Pss:")) * 1024  # Linux before 5.3
    except OSError:
        return 0


def _kilobytes(file: str, *names: str) -> int:
    lines = (line.split() for line in (_PROC / file).read_text().splitlines())
    return sum(int(line[1]) for line in lines if line and line[0] in names)


def _name(process: int) -> str:
    try:
        return (_PROC / f"{process}/comm").read_text().strip()
    except OSError:
        return "ended"
