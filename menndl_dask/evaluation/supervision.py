"""The supervision of a training: its messages, its limits, its end. Runs in the trainer."""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import wait
from typing import Protocol

from menndl_dask.errors import one_line
from menndl_dask.evaluation.channel import Channel, FrameError
from menndl_dask.evaluation.child_process import ended, kill_group
from menndl_dask.evaluation.energy import Meter
from menndl_dask.evaluation.last_output import LastOutput
from menndl_dask.evaluation.memory import Memory
from menndl_dask.evaluation.result_builder import ResultBuilder
from menndl_dask.problem import Limits

_INTERVAL = 0.05  # seconds between two checks of the limits
UNSENT = 120  # exit status of a training that could not send its outcome
_LONGEST_MESSAGE = 1 << 26  # bytes
_TRACE = 4_000  # characters of the last output of a training that died, for the log
_PATIENCE = 2.0  # seconds for the process to end after it has closed its pipe


class Orphaned(Exception):  # noqa: N818 - not an error of the trainer's
    """The worker, which waited for the result, has closed its pipe or died."""


class TrainingProcess(Protocol):
    """A training process, such as a `ChildProcess`: leader of its own process group and child of this process."""

    channel: Channel

    @property
    def output(self) -> LastOutput | None:
        """What it prints, to be read by its supervision; None if that is done elsewhere."""

    @property
    def pid(self) -> int:
        """Its process number."""

    def exit_status(self) -> int | None:
        """Return the exit status, the negative number of its signal, or None while it runs."""

    def last_stderr_line(self) -> str:
        """Return the last line of its standard error, or an empty string; of a crash what and where it was."""

    def last_output(self) -> str:
        """Return the last part of what it has printed."""

    def close(self) -> None:
        """Close its channel and wait for the process, which has ended, so that the system frees its number."""


def supervise(
    process: TrainingProcess, builder: ResultBuilder, limits: Limits, parent: Channel, meter: Meter | None = None
) -> None:
    """Follow a training to its end, and end its whole process group.

    Its messages, and the failure if there is one, are added to the builder. Beyond its limits it is killed. `parent` is
    the channel to the worker, which sends no message while the training runs: if it can be read, the worker is gone,
    and `Orphaned` is raised. `meter` is asked for its counters now and then.
    """
    checked = time.monotonic()
    memory = Memory(process.pid, limits.memory_bytes)
    try:
        while not builder.is_complete:
            output = [process.output.fileno()] if process.output is not None and process.output.fileno() >= 0 else []
            readable = wait([process.channel.fileno(), parent.fileno(), *output], _INTERVAL)
            if parent.fileno() in readable:
                raise Orphaned
            if process.output is not None and process.output.fileno() in readable:
                process.output.read()
            if process.channel.fileno() in readable:
                if not _receive(process, builder):
                    break
            elif process.exit_status() is not None:
                # although a process that it started may still have its pipe open
                while not builder.is_complete and wait([process.channel.fileno()], 0) and _receive(process, builder):
                    pass  # it may have sent its result and ended since
                break
            if time.monotonic() - checked >= _INTERVAL:  # not after each message: short epochs send many
                checked = time.monotonic()
                if meter is not None:
                    meter.sample(checked)
                _check_limits(memory, builder, limits, builder.seconds(checked))
        if not builder.is_complete:
            message = _how_it_ended(process)
            # if it has not begun, the import of a framework failed, not a network
            is_error = builder.phase == "start" or process.exit_status() == UNSENT
            builder.fail("error" if is_error else "killed", message)
            builder.trace = process.last_output()[-_TRACE:]
    finally:
        kill_group(process.pid)
        process.close()


def _receive(process: TrainingProcess, builder: ResultBuilder) -> bool:
    """Read what has arrived of a message; return False if the pipe is closed."""
    try:
        for message in process.channel.read(_LONGEST_MESSAGE):
            builder.update(message)
    except (EOFError, OSError):
        return False
    except Exception as error:  # noqa: BLE001 - a user's code may write anything there
        why = str(error) if isinstance(error, FrameError) else f"a message cannot be used: {one_line(error)}"
        builder.fail("error", f"something else wrote into the pipe for the messages of the training: {why}")
    return True


def _check_limits(memory: Memory, builder: ResultBuilder, limits: Limits, seconds: float) -> None:
    where = f"it was killed in phase {builder.phase!r}"
    if seconds > limits.seconds:
        builder.fail("timed_out", f"it took longer than {limits.seconds:g} s; {where}")
    if excess := memory.excess():
        builder.fail("out_of_memory", f"{excess}; {where}")


def _how_it_ended(process: TrainingProcess) -> str:
    """Wait for the end of a process that has closed its pipe, and describe it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        status = process.exit_status()
        if status == UNSENT:
            return f"it could not send its result: {process.last_stderr_line() or 'all its files were closed'}"
        if status is not None:
            line = process.last_stderr_line() if status not in (0, -signal.SIGKILL) else ""
            cause = ", as by a system that runs out of memory" if status == -signal.SIGKILL else ""
            return f"the process {ended(status)}{cause}" + (f"; last line of its errors: {line}" if line else "")
        time.sleep(0.005)
    return "the process closed the pipe for its messages and did not end; it was killed"
