"""A child process that exchanges frames with its parent over pipes. Runs on a worker, and in the child itself.

`multiprocessing` refuses to start processes inside a Dask worker under a nanny; `subprocess` does not. A child has its
own session, so that an interrupt on the terminal does not reach it. It dies with its parent: on Linux by a signal,
on every system by the end of its pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import signal
import subprocess
import sys
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

from menndl_dask.errors import MenndlError, TrainerError, one_line_with_place
from menndl_dask.evaluation.channel import Channel, FrameError, out_of_reach
from menndl_dask.evaluation.descendants import MARK, descendants, end_marked, kill
from menndl_dask.evaluation.last_output import LastOutput
from menndl_dask.program.interruption import was_interrupted

_LOG = logging.getLogger(__name__)
_PARENT = "MENNDL_PARENT"  # process number of the parent, in the child's environment
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
_END_S = 10.0  # for a killed process to end; one that waits for a file system may not
_INTERRUPTED_S = 0.5  # for a child to end once the user has interrupted the program
_Process = subprocess.Popen[bytes]
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class _Raised:
    """An exception in the child."""

    message: str
    trace: str
    is_told: bool  # in words for the user


class ChildProcess:
    """A child process that runs a module of this package and answers frames with frames.

    The module calls `connect_to_parent` when it runs as a program. The environment is set in addition to that of this
    process. `channel` is for an exchange other than question and answer.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.module, self._arguments = module, arguments
        self.output: LastOutput | None = None  # a thread reads it
        self._owner = os.getpid()
        self._mark = secrets.token_hex(8)
        started: Future[_Process] = Future()
        _starter(self._owner).put((partial(self._start, dict(environment or {})), started))
        self._process = started.result()
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self.channel = Channel(os.dup(stdout.fileno()), os.dup(stdin.fileno()))
        self._errors = LastOutput(os.dup(stderr.fileno()))
        self._errors.follow()
        for pipe in (stdin, stdout, stderr):
            pipe.close()

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
        began = time.monotonic()
        try:
            self.channel.send(frame, timeout)
            answer = self.channel.receive(None if timeout is None else began + timeout - time.monotonic())
        except TimeoutError as error:
            self.kill()
            raise TrainerError(f"{self.module}: no answer in {timeout:g} s; it was killed") from error
        except FrameError as error:
            self.kill()
            raise TrainerError(f"{self.module}: {error}; it was killed") from EOFError(str(error))
        except (OSError, EOFError, ValueError) as error:
            raise TrainerError(self._describe_exit()) from EOFError(str(error))
        if isinstance(answer, _Raised):
            _LOG.info("exception in %s:\n%s", self.module, answer.trace)
            raise TrainerError(answer.message if answer.is_told else f"{self.module}: {answer.message}")
        return answer

    def last_stderr_line(self) -> str:
        """Return the last line of the child's standard error, or an empty string."""
        self._errors.finish()
        return self._errors.last_line()

    def last_output(self) -> str:
        """Return the last part of what it has printed."""
        return self._errors.text()

    def close(self, patience: float = 5.0) -> None:
        """Close the child's pipe, and kill it if it does not end in time (seconds)."""
        if self._owner != os.getpid():
            return
        self.channel.close()
        try:
            if self._process.wait(min(patience, _INTERRUPTED_S) if was_interrupted() else patience) != 0:
                end_marked(self._mark)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the child and all processes that it has started."""
        below = descendants(self.pid)
        kill_group(self.pid)
        self._process.kill()  # it may have left its group
        kill(below)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        end_marked(self._mark)

    def _start(self, environment: dict[str, str]) -> _Process:
        paths = [str(Path(path).absolute()) for path in sys.path if path or _has_working_directory()]
        variables = {**_QUIET, **os.environ, **environment}
        marks = f"{os.environ.get(MARK, '')} {self._mark}".strip()
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**variables, "PYTHONPATH": os.pathsep.join(paths), _PARENT: str(self._owner), MARK: marks},
            start_new_session=True,
        )

    def _describe_exit(self) -> str:
        try:
            status = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.module}: it closed its pipe and hung; it was killed"
        end_marked(self._mark)  # it may have been killed before it could end what trainings have started
        line = self.last_stderr_line() if status > 0 else ""
        return f"{self.module}: the process {ended(status)}" + (f"; last line of its errors: {line}" if line else "")


def connect_to_parent() -> Channel:
    """Return the channel to the parent, in a module started by `ChildProcess`; to be called before anything else.

    From then on the child prints to its standard error, so that prints do not disturb the frames.
    """
    die_with_parent(int(os.environ[_PARENT]), signal.SIGTERM)
    reading, writing = out_of_reach(os.dup(0)), out_of_reach(os.dup(1))
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
            is_told = isinstance(error, MenndlError)
            answer = _Raised(str(error) if is_told else one_line_with_place(error), traceback.format_exc(), is_told)
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


def _has_working_directory() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:  # it was removed
        return False


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
