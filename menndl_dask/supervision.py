"""The watch over a training: its messages, its limits, its end. Runs in the trainer."""

from __future__ import annotations

import select
import signal
import time
from pathlib import Path
from typing import Protocol

import psutil

from menndl_dask.child import Channel, ended, kill_group
from menndl_dask.problem import Limits
from menndl_dask.record import Record

_INTERVAL = 0.05  # seconds between two looks at the memory
_PROC = Path("/proc")
_PATIENCE = 2.0  # seconds for the process to end after its last message


class Orphaned(Exception):  # noqa: N818 - not an error of the trainer's
    """The parent of the trainer has closed its pipe or died: nobody waits for the result."""


class Watched(Protocol):
    """A training process, leader of its own process group and child of this process."""

    pid: int
    channel: Channel

    def exit_status(self) -> int | None:
        """Return the exit status if it has ended, or the negative number of its signal."""

    def last_words(self) -> str:
        """Return what it said last of its own death, or nothing."""

    def reap(self) -> None:
        """Wait for the process, which has ended, and let the system forget it."""


def watch(process: Watched, record: Record, limits: Limits, parent: Channel) -> None:
    """Follow a training to its end and write the outcome into its record; nothing of the process remains.

    Parameters
    ----------
    process
        The training.
    record
        What its messages are written into.
    limits
        Past which it is killed.
    parent
        Whoever waits for the result; it speaks while the training runs only by going away.

    Raises
    ------
    Orphaned
        If the parent went away.
    """
    looked = time.monotonic()
    try:
        while not record.is_complete:
            readable = _readable(process.channel, parent)
            if parent in readable:
                raise Orphaned
            if process.channel in readable:
                now = time.monotonic()
                if not _take_message(process, record, now + limits.seconds - record.seconds(now)):
                    break
            elif process.exit_status() is not None:
                break  # although a process that it started still holds its pipe
            if time.monotonic() - looked >= _INTERVAL:  # not after each message: short epochs send many
                looked = time.monotonic()
                _check_limits(process.pid, record, limits, record.seconds(looked))
        if not record.is_complete:
            has_begun = record.phase != "start"  # else what failed is the import of a framework, not a network
            record.fail("killed" if has_begun else "error", _how_it_ended(process))
    finally:
        kill_group(process.pid)
        process.channel.close()
        process.reap()


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds by itself, in bytes; 0 when it has ended.

    Pages of mapped files are not counted (Linux): the system may drop them, and the staged samples are such files.
    """
    try:
        if not _PROC.exists():
            return int(psutil.Process(pid).memory_info().rss)
        lines = (line.split() for line in (_PROC / f"{pid}/status").read_text().splitlines())
        return sum(int(line[1]) * 1024 for line in lines if line and line[0] in ("RssAnon:", "RssShmem:"))
    except (OSError, psutil.Error):
        return 0


def _readable(*channels: Channel) -> list[Channel]:
    poll = select.poll()
    for channel in channels:
        poll.register(channel.fileno(), select.POLLIN)
    found = {descriptor for descriptor, _ in poll.poll(_INTERVAL * 1000)}
    return [channel for channel in channels if channel.fileno() in found]


def _take_message(process: Watched, record: Record, deadline: float) -> bool:
    """Take in a message; return whether there was one. A process that is stopped in mid-message is overdue in time."""
    try:
        record.update(process.channel.receive(max(0.0, deadline - time.monotonic())))
    except TimeoutError:
        return True
    except (EOFError, OSError):
        return False
    return True


def _check_limits(pid: int, record: Record, limits: Limits, seconds: float) -> None:
    phase = record.phase
    if seconds > limits.seconds:
        record.fail("timed_out", f"it took longer than {limits.seconds:g} s; it was killed in phase {phase!r}")
    used = resident_bytes(pid)
    if limits.memory_bytes is not None and used > limits.memory_bytes:
        sizes = f"{used / 1e6:.0f} MB where {limits.memory_bytes / 1e6:.0f} MB are allowed"
        record.fail("out_of_memory", f"it held {sizes}; it was killed in phase {phase!r}")


def _how_it_ended(process: Watched) -> str:
    """Wait for the end of a process that has closed its pipe, and return it in words."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        status = process.exit_status()
        if status is not None:
            said = process.last_words() if status > 0 else ""
            return f"{_words(status)}; its last words: {said}" if said else _words(status)
        time.sleep(0.005)
    return "the process closed its pipe and did not end"


def _words(status: int) -> str:
    text = f"the process {ended(status)}"
    return f"{text}, as by a system whose memory runs out" if status == -signal.SIGKILL else text
