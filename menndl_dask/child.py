"""A child process that is spoken to in frames over pipes. Runs on a worker, and in the child itself.

`multiprocessing` refuses to start processes inside a Dask worker under a nanny; `subprocess` does not. A child is its
own session, so that an interrupt on the terminal or the end of its neighbours does not reach it, and it dies with
its parent: on Linux by a signal, everywhere by the end of its pipe. A frame is whatever `pickle` can carry.
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

from menndl_dask.errors import TrainerError

_LOG = logging.getLogger(__name__)
_HEADER = struct.Struct("!Q")
_PARENT = "MENNDL_PARENT"  # process number of the parent, in the child's environment
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
_STDERR_BYTES = 1 << 20  # what a child has written there is dropped beyond this size
_CHUNK = 1 << 20
_Process = subprocess.Popen[bytes]
_Start = Callable[[], _Process]
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "PYTHONUNBUFFERED": "1"}


class Channel:
    """Frames in both directions over a pair of file descriptors: eight bytes of length, then the pickle.

    Parameters
    ----------
    reading, writing
        Descriptors of the two pipes; -1 for a direction that is not used.
    """

    def __init__(self, reading: int = -1, writing: int = -1) -> None:
        self._reading, self._writing = reading, writing
        if writing >= 0:
            os.set_blocking(writing, False)

    def fileno(self) -> int:
        """Return the descriptor that frames are read from, for `select`."""
        return self._reading

    def send(self, frame: Any, timeout: float | None = None) -> None:
        """Send a frame.

        Raises
        ------
        TimeoutError
            If the other side does not read it in time.
        BrokenPipeError
            If there is no other side.
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
            If none comes in time.
        EOFError
            If the other side has closed the pipe or died.
        """
        deadline = _deadline(timeout)
        (length,) = _HEADER.unpack(self._exactly(_HEADER.size, deadline))
        return pickle.loads(self._exactly(length, deadline))

    def close(self) -> None:
        """Close both directions; the other side reads the end."""
        for descriptor in (self._reading, self._writing):
            if descriptor >= 0:
                os.close(descriptor)
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
    """An exception in the child, in the words of `last_line`."""

    message: str
    trace: str


class Child:
    """A child process that runs a module of this package and answers frames with frames.

    Parameters
    ----------
    module
        The module, which calls `serve`, or `connect_to_parent`, when it runs as a program.
    environment
        Variables set in the child beside those of this process.
    arguments
        Arguments of the module.

    Attributes
    ----------
    channel
        The way to the child, for a conversation that is not question and answer.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.module, self._arguments = module, arguments
        self._owner = os.getpid()
        self._stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as the child
        self._process = _starter(self._owner).start(partial(self._start, dict(environment or {})))
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
        """Whether it runs, as a child of this very process (not of the one that this was forked from)."""
        return self._owner == os.getpid() and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Its exit status if it has ended, or the negative number of its signal."""
        return self._process.poll()

    def ask(self, frame: Any, timeout: float | None = None) -> Any:
        """Send a frame and return the answer.

        Raises
        ------
        TrainerError
            If the child has died (the cause is an `EOFError`), raised an exception (no cause), or does not answer in
            time, whereupon it is killed (the cause is a `TimeoutError`).
        """
        self._trim_stderr()
        deadline = _deadline(timeout)
        try:
            self.channel.send(frame, timeout)
            answer = self.channel.receive(None if deadline is None else deadline - time.monotonic())
        except TimeoutError as error:
            self.kill()
            raise TrainerError(f"{self.module}: no answer in {timeout:g} s; it was killed") from error
        except (OSError, EOFError, ValueError) as error:
            raise TrainerError(self._obituary()) from EOFError(str(error))
        if isinstance(answer, _Raised):
            _LOG.info("exception in %s:\n%s", self.module, answer.trace)
            raise TrainerError(f"{self.module}: {answer.message}")
        return answer

    def last_words(self) -> str:
        """Return the last line that the child wrote to its standard error."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self, patience: float = 5.0) -> None:
        """End the child: by closing its pipe, and by force when it does not follow."""
        if self._owner != os.getpid():
            return
        self.channel.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stderr.close()

    def kill(self) -> None:
        """End the child and its process group by force."""
        kill_group(self.pid)
        self._process.wait()

    def _start(self, environment: dict[str, str]) -> _Process:
        paths = [path or str(Path.cwd()) for path in sys.path]
        inherited = {**_QUIET, **os.environ, **environment}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**inherited, "PYTHONPATH": os.pathsep.join(paths), _PARENT: str(self._owner)},
            start_new_session=True,
        )

    def _trim_stderr(self) -> None:
        if not self._stderr.closed and os.fstat(self._stderr.fileno()).st_size > _STDERR_BYTES:
            self._stderr.truncate(0)

    def _obituary(self) -> str:
        """Return how the child ended, and its last words."""
        try:
            status = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.module}: it closed its pipe and hung; it was killed"
        said = self.last_words() if status > 0 else ""
        return f"{self.module}: the process {ended(status)}" + (f"; its last words: {said}" if said else "")


def connect_to_parent() -> Channel:
    """Return the way to the parent, in a module that was started by `Child`; to be called before anything else.

    What the child prints goes to its standard error from here on, and cannot disturb the frames.
    """
    tie_to(int(os.environ[_PARENT]), signal.SIGTERM)
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Channel(reading, writing)


def serve(channel: Channel, handle: Callable[[Any], Any]) -> None:
    """Answer each frame with what `handle` returns, until the parent closes the pipe or dies.

    An exception of `handle` is answered too: `Child.ask` raises it there as a `TrainerError`.
    """
    while True:
        try:
            frame = channel.receive()
        except EOFError:
            return
        try:
            answer = handle(frame)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent hears of it
            answer = _Raised(last_line(error), traceback.format_exc())
        try:
            channel.send(answer)
        except BrokenPipeError:
            return


def tie_to(parent: int, sign: signal.Signals) -> None:
    """Have a signal sent to this process when its parent dies (Linux only), and end it if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def kill_group(leader: int) -> None:
    """Kill a process group; nothing happens where there is none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def ended(status: int) -> str:
    """Return in words how a process ended, from its exit status or the negative number of its signal.

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


def last_line(error: BaseException) -> str:
    """Return the last line of a traceback and where it happened: what a record has room for."""
    told = traceback.TracebackException.from_exception(error)
    told.__notes__ = None  # which come last: JAX writes about its tracebacks there
    text = list(told.format_exception_only())[-1].strip().splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


class _Starter:
    """The thread that starts the children of a process, and lives as long as the process.

    The system takes the end of the thread that started a child for the death of its parent. A worker's threads come
    and go, and those of an executor end before `atexit` has its turn; a daemon that waits ends with the process.
    """

    def __init__(self) -> None:
        self._orders: SimpleQueue[tuple[_Start, Future[_Process]]] = SimpleQueue()
        threading.Thread(target=self._work, name="menndl-starter", daemon=True).start()

    def start(self, start: _Start) -> _Process:
        """Have a child started by the thread, and return what it is or raise what went wrong."""
        future: Future[_Process] = Future()
        self._orders.put((start, future))
        return future.result()

    def _work(self) -> None:
        while True:
            start, future = self._orders.get()
            try:
                future.set_result(start())
            except BaseException as error:  # noqa: BLE001 - raised where the child was wanted
                future.set_exception(error)
            del start, future  # which hold on to the child until the next one is wanted


@cache
def _starter(_owner: int) -> _Starter:
    """Return the one of a process; in a process forked from it the thread is missing."""
    return _Starter()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _wait(descriptor: int, deadline: float | None, *, writing: bool = False) -> None:
    """Wait until a descriptor can be read or written, or has no other side; raises `TimeoutError`."""
    poll = select.poll()  # not `select.select`: a busy worker may have more than 1024 open files
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    if not poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
