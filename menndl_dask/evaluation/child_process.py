"""A child process that exchanges frames with its parent over pipes. Runs on a worker, and in the child itself.

`multiprocessing` refuses to start processes inside a Dask worker under a nanny; `subprocess` does not. A child has its
own session, so that an interrupt on the terminal does not reach it. It dies with its parent: on Linux by a signal,
on every system by the end of its pipe. A frame is any object that `pickle` can serialise.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from menndl_dask.errors import TrainerError, one_line_with_place

_LOG = logging.getLogger(__name__)
_HEADER = struct.Struct("!Q")
_PARENT = "MENNDL_PARENT"  # process number of the parent, in the child's environment
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
_STDERR_BYTES = 1 << 20  # more than this is dropped
_CHUNK = 1 << 20
_Process = subprocess.Popen[bytes]
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "PYTHONUNBUFFERED": "1"}


class Channel:
    """Frames in both directions over a pair of file descriptors: eight bytes of length, then the pickle.

    A descriptor is -1 for an unused direction.
    """

    def __init__(self, reading: int = -1, writing: int = -1) -> None:
        self._reading, self._writing = reading, writing
        if writing >= 0:
            os.set_blocking(writing, False)

    def fileno(self) -> int:
        """Return the descriptor to read from, for `select`."""
        return self._reading

    def send(self, frame: Any, timeout: float | None = None) -> None:
        """Send a frame.

        Raises
        ------
        TimeoutError
            If it is not read in time.
        BrokenPipeError
            If the other side is closed.
        """
        body = pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL)
        deadline = _deadline(timeout)
        for part in (_HEADER.pack(len(body)), body):
            rest = memoryview(part)
            while rest:
                _wait(self._writing, deadline, writing=True)
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._writing, rest[:_CHUNK]) :]

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for a frame and return it.

        Raises
        ------
        TimeoutError
            If none arrives in time.
        EOFError
            If the other side has closed the pipe or died.
        """
        deadline = _deadline(timeout)
        (length,) = _HEADER.unpack(self._exactly(_HEADER.size, deadline))
        return pickle.loads(self._exactly(length, deadline))

    def close(self) -> None:
        """Close both directions."""
        for pipe in (self._reading, self._writing):
            if pipe >= 0:
                os.close(pipe)
        self._reading = self._writing = -1

    def _exactly(self, count: int, deadline: float | None) -> bytearray:
        data = bytearray()
        while len(data) < count:
            _wait(self._reading, deadline)
            part = os.read(self._reading, min(_CHUNK, count - len(data)))
            if not part:
                raise EOFError("the pipe was closed")
            data += part
        return data


@dataclass(frozen=True, slots=True)
class _Raised:
    """An exception in the child."""

    message: str
    trace: str


class ChildProcess:
    """A child process that runs a module of this package and answers frames with frames.

    The module calls `connect_to_parent` when it runs as a program. The environment is set in addition to that of this
    process. `channel` is for an exchange other than question and answer.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.module, self._arguments = module, arguments
        self._owner = os.getpid()
        self._stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - open as long as the child runs
        started: Future[_Process] = Future()
        _starter(self._owner).put((partial(self._start, dict(environment or {})), started))
        self._process = started.result()
        assert self._process.stdin is not None and self._process.stdout is not None
        self.channel = Channel(os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno()))
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs as a child of this process, not of one that this process was forked from."""
        return self._owner == os.getpid() and self._process.poll() is None

    def exit_status(self) -> int | None:
        """Return its exit status, the negative number of its signal, or None while it runs."""
        return self._process.poll()

    def ask(self, frame: Any, timeout: float | None = None) -> Any:
        """Send a frame and return the answer.

        Raises
        ------
        TrainerError
            If the child has died (the cause is an `EOFError`), raised an exception (no cause), or does not answer in
            time, whereupon it is killed (the cause is a `TimeoutError`).
        """
        if not self._stderr.closed and os.fstat(self._stderr.fileno()).st_size > _STDERR_BYTES:
            self._stderr.truncate(0)
        deadline = _deadline(timeout)
        try:
            self.channel.send(frame, timeout)
            answer = self.channel.receive(None if deadline is None else deadline - time.monotonic())
        except TimeoutError as error:
            self.kill()
            raise TrainerError(f"{self.module}: no answer in {timeout:g} s; it was killed") from error
        except (OSError, EOFError, ValueError) as error:
            raise TrainerError(self._describe_exit()) from EOFError(str(error))
        if isinstance(answer, _Raised):
            _LOG.info("exception in %s:\n%s", self.module, answer.trace)
            raise TrainerError(f"{self.module}: {answer.message}")
        return answer

    def last_stderr_line(self) -> str:
        """Return the last line of the child's standard error, or an empty string."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self, patience: float = 5.0) -> None:
        """Close the child's pipe, and kill it if it does not end in time (seconds)."""
        if self._owner != os.getpid():
            return
        self.channel.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stderr.close()

    def kill(self) -> None:
        """Kill the child and its process group."""
        kill_group(self.pid)
        self._process.wait()

    def _start(self, environment: dict[str, str]) -> _Process:
        paths = [path or str(Path.cwd()) for path in sys.path]
        variables = {**_QUIET, **os.environ, **environment}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**variables, "PYTHONPATH": os.pathsep.join(paths), _PARENT: str(self._owner)},
            start_new_session=True,
        )

    def _describe_exit(self) -> str:
        try:
            status = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.module}: it closed its pipe and hung; it was killed"
        line = self.last_stderr_line() if status > 0 else ""
        return f"{self.module}: the process {ended(status)}" + (f"; last line of its errors: {line}" if line else "")


def connect_to_parent() -> Channel:
    """Return the channel to the parent, in a module started by `ChildProcess`; to be called before anything else.

    From then on the child prints to its standard error, so that prints do not disturb the frames.
    """
    die_with_parent(int(os.environ[_PARENT]), signal.SIGTERM)
    reading, writing = os.dup(0), os.dup(1)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    os.dup2(2, 1)
    return Channel(reading, writing)


def serve(channel: Channel, handle: Callable[[Any], Any]) -> None:
    """Answer each frame with the return value of `handle`, until the parent closes the pipe or dies.

    If `handle` raises an exception, `ChildProcess.ask` raises it in the parent as a `TrainerError`.
    """
    while True:
        try:
            frame = channel.receive()
        except EOFError:
            return
        try:
            answer = handle(frame)
        except Exception as error:  # noqa: BLE001 - the parent is told of any exception
            answer = _Raised(one_line_with_place(error), traceback.format_exc())
        try:
            channel.send(answer)
        except BrokenPipeError:
            return


def die_with_parent(parent: int, sign: signal.Signals) -> None:
    """Receive a signal when the parent dies (Linux only); exit if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def kill_group(leader: int) -> None:
    """Kill a process group, if it exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def ended(status: int) -> str:
    """Describe how a process ended, from its exit status or the negative number of its signal.

    >>> ended(3)
    'ended with status 3'
    >>> ended(-9)
    'was ended by SIGKILL'
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


@cache
def _starter(_owner: int) -> SimpleQueue[tuple[Callable[[], _Process], Future[_Process]]]:
    """Return the queue of the thread that starts the children of a process; a process forked from it has its own.

    For Linux the parent of a child is the thread that started it. A worker's threads end earlier than the worker, and
    those of an executor end before `atexit` functions are called; a daemon thread ends with the process.
    """
    orders: SimpleQueue[tuple[Callable[[], _Process], Future[_Process]]] = SimpleQueue()

    def work() -> None:
        while True:
            start, started = orders.get()
            try:
                started.set_result(start())
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                started.set_exception(error)
            del start, started  # else they keep the child alive until the next one is started

    threading.Thread(target=work, name="menndl-starter", daemon=True).start()
    return orders


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _wait(pipe: int, deadline: float | None, *, writing: bool = False) -> None:
    """Wait until a pipe can be read or written, or is closed; raises `TimeoutError`."""
    poll = select.poll()  # not `select.select`: a busy worker may have more than 1024 open files
    poll.register(pipe, select.POLLOUT if writing else select.POLLIN)
    if not poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
