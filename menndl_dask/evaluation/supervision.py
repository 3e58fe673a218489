"""The supervision of a training: its messages, its limits, its end. Runs in the trainer."""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

import psutil

from menndl_dask.evaluation.child_process import Channel, ended, kill_group
from menndl_dask.evaluation.result_builder import ResultBuilder
from menndl_dask.problem import Limits

_INTERVAL = 0.05  # seconds between two checks of the limits
_PROC = Path("/proc")
_PATIENCE = 2.0  # seconds for the process to end after it has closed its pipe


class Orphaned(Exception):  # noqa: N818 - not an error of the trainer's
    """The worker, which waited for the result, has closed its pipe or died."""


class TrainingProcess(Protocol):
    """A training process, such as a `ChildProcess`: leader of its own process group and child of this process."""

    channel: Channel

    @property
    def pid(self) -> int:
        """Its process number."""

    def exit_status(self) -> int | None:
        """Return the exit status, the negative number of its signal, or None while it runs."""

    def last_stderr_line(self) -> str:
        """Return the last line of its standard error, or an empty string."""

    def close(self) -> None:
        """Close its channel and wait for the process, which has ended, so that the system frees its number."""


def supervise(process: TrainingProcess, builder: ResultBuilder, limits: Limits, parent: Channel) -> None:
    """Follow a training to its end, and end its whole process group.

    Its messages, and the failure if there is one, are added to the builder. Beyond its limits it is killed. `parent` is
    the channel to the worker, which sends no message while the training runs: if it can be read, the worker is gone,
    and `Orphaned` is raised.
    """
    checked = time.monotonic()
    try:
        while not builder.is_complete:
            readable = wait([process.channel.fileno(), parent.fileno()], _INTERVAL)
            if parent.fileno() in readable:
                raise Orphaned
            if process.channel.fileno() in readable:
                now = time.monotonic()
                if not _receive(process, builder, now + limits.seconds - builder.seconds(now)):
                    break
            elif process.exit_status() is not None:
                break  # although a process that it started still has its pipe open
            if time.monotonic() - checked >= _INTERVAL:  # not after each message: short epochs send many
                checked = time.monotonic()
                _check_limits(process.pid, builder, limits, builder.seconds(checked))
        if not builder.is_complete:
            has_begun = builder.phase != "start"  # else the import of a framework failed, not a network
            builder.fail("killed" if has_begun else "error", _how_it_ended(process))
    finally:
        kill_group(process.pid)
        process.close()


def resident_bytes(pid: int) -> int:
    """Return the memory of a process in bytes; 0 if it has ended.

    On Linux pages of mapped files are not counted: the system may drop them, and the staged samples are such files.
    """
    try:
        if not _PROC.exists():
            return int(psutil.Process(pid).memory_info().rss)
        lines = (line.split() for line in (_PROC / f"{pid}/status").read_text().splitlines())
        return sum(int(line[1]) * 1024 for line in lines if line and line[0] in ("RssAnon:", "RssShmem:"))
    except (OSError, psutil.Error):
        return 0


def _receive(process: TrainingProcess, builder: ResultBuilder, deadline: float) -> bool:
    """Receive a message; return False if the pipe is closed. A message that stops midway is left to the time limit."""
    try:
        builder.update(process.channel.receive(max(0.0, deadline - time.monotonic())))
    except TimeoutError:
        return True
    except (EOFError, OSError):
        return False
    return True


def _check_limits(pid: int, builder: ResultBuilder, limits: Limits, seconds: float) -> None:
    phase = builder.phase
    if seconds > limits.seconds:
        builder.fail("timed_out", f"it took longer than {limits.seconds:g} s; it was killed in phase {phase!r}")
    used = resident_bytes(pid)
    if limits.memory_bytes is not None and used > limits.memory_bytes:
        sizes = f"{used / 1e6:.0f} MB where {limits.memory_bytes / 1e6:.0f} MB are allowed"
        builder.fail("out_of_memory", f"it held {sizes}; it was killed in phase {phase!r}")


def _how_it_ended(process: TrainingProcess) -> str:
    """Wait for the end of a process that has closed its pipe, and describe it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        status = process.exit_status()
        if status is not None:
            line = process.last_stderr_line() if status > 0 else ""
            cause = ", as by a system that runs out of memory" if status == -signal.SIGKILL else ""
            return f"the process {ended(status)}{cause}" + (f"; last line of its errors: {line}" if line else "")
        time.sleep(0.005)
    return "the process closed its pipe and did not end"
