"""The last output of a process: what it wrote to a pipe at the end. Runs on a worker and in the trainer.

Prints of a user's code and warnings of a framework may take gigabytes. They go through a pipe that is read all the
time, and only the last part is kept. If the reader dies, the writers get an error.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path

from menndl_dask.errors import shortened

_KEPT = 1 << 16  # bytes
_FATAL = re.compile(r"Fatal Python error: ([^\n]*)\n.*?\n((?:  File [^\n]*\n)+)", re.DOTALL)  # from `faulthandler`
_FRAME = re.compile(r'  File "([^"]*)", line (\d+)')


class LastOutput:
    """The last part of what arrives through a pipe, which is closed at its end."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._kept = b""
        self._reader: threading.Thread | None = None

    def fileno(self) -> int:
        """Return the descriptor to read from; -1 after the end."""
        return self._pipe

    def read(self) -> bool:
        """Read once, when the descriptor can be read; return False at the end."""
        try:
            new = os.read(self._pipe, _KEPT)
        except BlockingIOError:
            return True
        self._kept = (self._kept + new)[-_KEPT:]
        if not new:
            self.close()
        return bool(new)

    def follow(self) -> None:
        """Read in a thread from now on, to the end."""
        self._reader = threading.Thread(target=_read_all, args=(self,), name="menndl-output", daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Read what a process that has ended has left in the pipe."""
        if self._reader is not None:
            self._reader.join(1.0)  # a process that it started may still have the pipe
        elif self._pipe >= 0:
            os.set_blocking(self._pipe, False)
            for _ in range(_KEPT // 4096):  # as many pages as a pipe has: others may go on writing
                before = len(self._kept)
                if not self.read() or len(self._kept) == before:
                    break

    def text(self) -> str:
        """Return what was read."""
        return self._kept.decode(errors="replace")

    def last_line(self) -> str:
        """Return the last line, or an empty string; of a crash of the interpreter its kind and where it was."""
        text = self.text()
        if fatal := list(_FATAL.finditer(text)):
            before = _last(text[: fatal[-1].start()])  # often the library's reason
            return shortened(fatal[-1][1] + _place(_FRAME.findall(fatal[-1][2])) + (before and f", after: {before}"))
        return _last(text)

    def close(self) -> None:
        """Close the pipe, if it is not read in a thread."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _read_all(output: LastOutput) -> None:
    while output.read():
        pass


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return shortened(lines[-1]) if lines else ""


def _place(frames: list[tuple[str, str]]) -> str:
    """Return the innermost of the calls that is not of Python itself."""
    own = [frame for frame in frames if not frame[0].startswith(("<", sys.base_prefix, sys.prefix))]
    for file, line in (own or frames)[:1]:
        return f" ({Path(file).name}, line {line})"
    return ""
