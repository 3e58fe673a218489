"""A channel: frames between two processes over pipes. Runs on a worker, and in its child processes.

A frame is any object that `pickle` can serialise. Before it come a mark, its check sum and its length: a user's code
may write anything into any file that its process has open, and what is no frame is never given to `pickle`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import resource
import select
import struct
import time
import zlib
from typing import Any

_MARK = b"MNDL"
_HEADER = struct.Struct("!4sIQ")  # mark, check sum, length
_LONGEST = 1 << 36  # bytes of a frame
_CHUNK = 1 << 20
_HIGH = 1000  # file descriptors above it are seldom closed by accident


class FrameError(Exception):
    """What came through a pipe is no frame."""


class Channel:
    """Frames in both directions over a pair of file descriptors, -1 for an unused direction."""

    def __init__(self, reading: int = -1, writing: int = -1) -> None:
        self._reading, self._writing = reading, writing
        self._process = os.getpid()
        self._part = bytearray()  # of a header or a frame, as far as it has arrived
        self._length: int | None = None  # of the frame whose header has arrived
        self._sum = 0
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
            If the other side is closed, or this process was forked from that of the channel.
        """
        if os.getpid() != self._process:  # as by `os.fork` in a loss: both would go on with the training
            raise BrokenPipeError("a process that was forked from a training cannot send its messages")
        body = pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL)
        deadline = _deadline(timeout)
        for part in (_HEADER.pack(_MARK, zlib.crc32(body), len(body)), body):
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
        FrameError
            If something else arrives.
        """
        deadline = _deadline(timeout)
        while True:
            _wait(self._reading, deadline)
            if frames := self.read():
                return frames[0]

    def read(self, longest: int = _LONGEST) -> list[Any]:
        """Read once, when the descriptor can be read; return the frame if that completed one of at most so many bytes.

        Raises
        ------
        EOFError
            If the other side has closed the pipe or died.
        FrameError
            If something else arrived, or a longer frame.
        """
        needed = (_HEADER.size if self._length is None else self._length) - len(self._part)
        new = os.read(self._reading, min(_CHUNK, needed))
        if not new:
            raise EOFError("the pipe was closed")
        self._part += new
        if len(new) < needed:
            return []
        part, self._part = self._part, bytearray()
        if self._length is None:
            mark, self._sum, self._length = _HEADER.unpack(part)
            if mark != _MARK or not 0 < self._length <= longest:
                raise FrameError(f"expected a frame of at most {longest} bytes, got {bytes(part)!r}")
            return []
        self._length = None
        if zlib.crc32(part) != self._sum:
            raise FrameError(f"expected the rest of a frame, got {bytes(part[:40])!r}")
        try:
            return [pickle.loads(part)]
        except Exception as error:
            raise FrameError(f"a frame cannot be read: {type(error).__name__}") from error

    def close(self) -> None:
        """Close both directions."""
        for pipe in (self._reading, self._writing):
            if pipe >= 0:
                with contextlib.suppress(OSError):  # a user's code has closed it
                    os.close(pipe)
        self._reading = self._writing = -1


def out_of_reach(file: int) -> int:
    """Return a duplicate of a file descriptor with a high number, and close it: loops that close files are common."""
    highest, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        duplicate = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(3, min(_HIGH, highest - 10)))
    except OSError:  # none is free there
        return file
    os.close(file)
    return duplicate


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _wait(pipe: int, deadline: float | None, *, writing: bool = False) -> None:
    """Wait until a pipe can be read or written, or is closed; raises `TimeoutError`."""
    poll = select.poll()  # not `select.select`: a busy worker may have more than 1024 open files
    poll.register(pipe, select.POLLOUT if writing else select.POLLIN)
    if not poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError
