"""What surrounds a command or a script: signals, standard streams, and one line for whatever goes wrong. Runs anywhere.

The traceback of an error that no part of the program expected is appended to a file that only its user can read. It
stands in the folder for the state of programs, ``$XDG_STATE_HOME/menndl`` or ``~/.local/state/menndl``, or if that
cannot be written in a new file in the folder for temporary files.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

from menndl_dask.errors import FULL, ExitCode, MenndlError, cut_in_the_middle, message_of, one_line_with_place
from menndl_dask.program.interruption import interruptible, last_message, was_interrupted
from menndl_dask.terminal import say

DEBUG = "MENNDL_DEBUG"  # environment variable: 1 shows the traceback of every error
OPTION = "--debug"  # the same for one command
LOG = "errors.log"

_LARGEST_LOG = 2**20  # bytes; a larger one is begun anew
_LONGEST_TRACEBACK = 2**16  # characters


def guarded(
    main: Callable[[], int], message: str = "stopped; the same command carries on", *, program: str = ""
) -> int:
    """Run the main function of a script and return its exit code; whatever goes wrong is one line.

    A `MenndlError` or a full disk is told in its words. Any other exception is a mistake in this program, or an input
    that no part of it expected: the line names its type and place, and the file with the traceback. With ``--debug`` or
    ``MENNDL_DEBUG=1`` the traceback of each error is shown.

    SIGTERM, which batch systems send, and SIGHUP are handled like Ctrl-C: the run stays consistent and can be resumed.
    `message` is what is said then. A second signal ends the program without waiting for anything. Each line begins with
    the name of the `program`, by default that of the script.
    """
    with interruptible(message):
        return _guarded(main, message, program or Path(sys.argv[0] if sys.argv else "").name)


def _guarded(main: Callable[[], int], message: str, program: str) -> int:
    try:
        _make_streams_usable()
        if OPTION in sys.argv[1:]:
            sys.argv.remove(OPTION)
            os.environ[DEBUG] = "1"  # also for the drivers of islands
        status = main()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _tell(f"\n{last_message(message)}")
        return ExitCode.STOPPED
    except Exception as error:  # noqa: BLE001
        if was_interrupted():  # what is told of the interruption as an error
            _tell(f"\n{last_message(message)}")
            return ExitCode.STOPPED
        if isinstance(error, BrokenPipeError) and _has_no_reader(sys.stdout, sys.stderr):
            return ExitCode.CUT_SHORT  # as with menndl check DATA | head
        return _wrong(error, program)


def is_debugging() -> bool:
    """Return whether the user asked for the traceback of each error."""
    return os.environ.get(DEBUG, "0") not in ("", "0")


def unexpected(error: Exception) -> str:
    """Write the traceback of an exception into the log, and return the line for the user."""
    log = log_traceback(error)
    where = f"; the traceback stands in {log}" if log else f"; {DEBUG}=1 shows the traceback"
    line = cut_in_the_middle(f"unexpected error: {one_line_with_place(error)}", 500 - len(where) - 40)
    return f"{line}{where}"


def log_traceback(error: BaseException) -> Path | None:
    """Append the traceback of an exception to the log, and return the path of the log; None if it cannot be written."""
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sys.argv[:1]} process {os.getpid()}\n{_traceback(error)}\n"
    with suppress(OSError, RuntimeError):  # no home, no right to write there, a full disk
        folder = state_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _append(folder / LOG, text)
        return folder / LOG
    with suppress(OSError):
        file, name = tempfile.mkstemp(".log", "menndl-")
        os.write(file, text.encode(errors="replace"))
        os.close(file)
        return Path(name)
    return None


def state_folder() -> Path:
    """Return the folder for what the program keeps of its user between runs; raises `RuntimeError` if there is none."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = (given if given.is_absolute() else Path.home() / ".local" / "state") / "menndl"
    if not folder.is_absolute():
        raise RuntimeError("expected HOME to name a folder")
    return folder


def _append(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "is not a file of this user", str(path))
        os.fchmod(file, 0o600)
        if found.st_size > _LARGEST_LOG:
            os.ftruncate(file, 0)
        os.write(file, text.encode(errors="replace"))
    finally:
        os.close(file)


def _traceback(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  # its message cannot be made
        text = "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__name__}: {message_of(error)}\n"
    half = _LONGEST_TRACEBACK // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n…\n{text[-half:]}"


def _wrong(error: Exception, program: str) -> int:
    """Tell what went wrong in one line, and return the exit code; the traceback of what caused it is kept."""
    if is_debugging():
        _tell(_traceback(error))
    if isinstance(error, MenndlError):
        line = message_of(error)
        if not isinstance(error.__cause__, (MenndlError, OSError, NoneType)):
            log_traceback(error)
    elif isinstance(error, OSError) and error.errno in FULL:
        file = f"{error.filename}: " if error.filename else ""
        line = f"{file}{error.strerror}; make room, then the same command again"
    elif isinstance(error, OSError) and error.filename and error.strerror:  # its name is too long, or not to be read
        log_traceback(error)
        line = f"{cut_in_the_middle(str(error.filename), 200)}: {error.strerror}"
    else:
        line = unexpected(error)
    _tell(cut_in_the_middle(f"{program or 'menndl'}: {line}"), style="red")
    _silence(sys.stdout, if_broken=True)
    return ExitCode.USER_ERROR


def _tell(text: str, **options: Any) -> None:
    """Write to the standard error if there is one that can be written to."""
    try:
        say(text, stream=sys.stderr, **options)
    except (OSError, ValueError):
        _silence(sys.stderr)


def _make_streams_usable() -> None:
    """Let what the output cannot show be a replacement character, and give closed streams a place to go."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: files that are opened would take its place and be written to
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(_null_device(number), mode, encoding="utf-8", errors="replace"))
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _null_device(number: int) -> int:
    """Return the null device opened with this number, or with another if that is taken."""
    file = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)
    except OSError:
        os.dup2(file, number)
        os.close(file)
        return number
    return file


def _has_no_reader(*streams: Any) -> bool:
    """Return whether the reader of a stream has ended; what is left to be written then goes to the null device."""
    ended = False
    for stream in streams:
        with suppress(OSError, ValueError, AttributeError):  # closed, or not a file
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLERR)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                ended = True
                _silence(stream)
    return ended


def _silence(stream: Any, *, if_broken: bool = False) -> None:
    """Let the null device take what Python flushes at its end; with `if_broken` only if it cannot be flushed now."""
    if if_broken:
        with suppress(ValueError):
            try:
                stream.flush()
                return
            except OSError:
                pass
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
