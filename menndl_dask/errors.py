"""The error tree. Pure.

::

    MenndlError
    ├── UserError                something in a file, an option or the data is not as expected
    │   ├── ProfileError         a cluster profile
    │   ├── DataError            the labelled images: a missing variable, a wrong shape, a NaN label, …
    │   └── RunError             a run directory: held by another driver, damaged, of another problem
    │       └── JournalError     the journal of a running search cannot be written any more
    ├── GenomeError              a genome that cannot be read, built or encoded
    │   └── InfeasibleError      no network can be built from it: a shape does not fit, a limit is exceeded
    ├── NodeError                the node of a worker: its disk has no room, or it cannot read the data
    └── TrainerError             the child process that holds Keras could not be used

A message says what was expected and what came, with the file and the key. The command line prints a
`UserError` as one line, without a traceback.
"""

from __future__ import annotations

import errno
import re
import signal
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # of an `OSError`: a disk without room, or a user's share of one
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300  # characters of an exception or of another program's message
_LONGEST_PLACE = 160  # characters of the name of a file
_LONGEST_LINE = 500
_READ = 10_000  # characters of a message that are looked at


class MenndlError(Exception):
    """Base class of the errors of this package; a message is one line of at most 500 characters."""

    def __str__(self) -> str:
        text = super().__str__()
        if "\n" in text:  # such as of a table that came where a number was expected
            text = " ".join(text.split())
        return text if len(text) <= _LONGEST_LINE else cut_in_the_middle(text)


class UserError(MenndlError):
    """A file, an option or a value from the user is not as expected."""


class ProfileError(UserError):
    """A cluster profile is not as expected."""


class DataError(UserError):
    """The labelled images are not as expected."""


class RunError(UserError):
    """A run directory cannot be used."""


class JournalError(RunError):
    """The journal of a running search cannot be written any more; the message says where its results are."""


class GenomeError(MenndlError):
    """A genome cannot be read, built or encoded."""


class InfeasibleError(GenomeError):
    """No network can be built from this genome for this problem."""


class NodeError(MenndlError):
    """The node of a worker lacks something that every evaluation there needs."""


class TrainerError(MenndlError):
    """The trainer process could not be started or spoken to."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known word, else an empty text.

    >>> nearest("acount", ["account", "queue"])
    "; did you mean 'account'?"
    >>> nearest("zzz", ["account", "queue"])
    ''
    """
    close = get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shortened(text: str, most: int = _LONGEST) -> str:
    r"""Return a message in one line of at most `most` characters, without the colours of a terminal.

    >>> shortened("\x1b[1mtwo\nlines\x1b[0m")
    'two lines'
    """
    words = " ".join(_COLOUR.sub("", text[:_READ]).split())[:most]
    return words.encode(errors="replace").decode()  # half of a surrogate pair cannot be written to a file


def cut_in_the_middle(text: str, most: int = _LONGEST_LINE) -> str:
    r"""Return a message in one line of at most `most` characters: of a longer one its beginning and its end.

    >>> cut_in_the_middle("data.zarr: expected a number,\n got " + 1000 * "9" + "; see --help", most=44)
    'data.zarr: expected a number …99; see --help'
    """
    if len(text) > _READ:
        text = f"{text[: _READ // 2 - 2]} …{text[-_READ // 2 + 2 :]}"
    line = shortened(text, _READ)
    if len(line) <= most:
        return line
    last = most // 3
    return f"{line[: most - last - 2].rstrip()} …{line[-last:].lstrip()}"


def message_of(error: BaseException) -> str:
    """Return the message of an exception, also of one whose message cannot be made."""
    try:
        return str(error)
    except (Exception, SystemExit, GeneratorExit) as second:  # noqa: BLE001 - of a library or a user's function
        return f"its message cannot be shown: {type(second).__name__}"


def one_line(error: BaseException) -> str:
    r"""Return the type and the message of an exception in one line of at most 300 characters.

    >>> one_line(ValueError("expected a number,\ngot 'four'")), one_line(TimeoutError())
    ("ValueError: expected a number, got 'four'", 'TimeoutError')
    """
    message = shortened(message_of(error))
    return shortened(f"{type(error).__name__}: {message}" if message else type(error).__name__)


@contextmanager
def reading(file: object, raises: type[UserError] = DataError) -> Iterator[None]:
    """Turn any exception while a file is read into one line of at most 500 characters that names the file.

    Files that are damaged, or made to do harm, lead to any exception: of decoding, of depth, of memory. An error of
    ours is passed on as it is.

    >>> with reading("run.yaml", RunError):
    ...     [][1]
    Traceback (most recent call last):
    menndl_dask.errors.RunError: run.yaml: cannot be read: IndexError: list index out of range
    """
    try:
        yield
    except MenndlError:
        raise
    except Exception as error:
        system = error.strerror if isinstance(error, OSError) else None  # has the name of the file in its message
        if isinstance(error, OSError) and error.errno in (*FULL, errno.EPIPE):
            raise  # of what is written
        place = cut_in_the_middle(str(file), _LONGEST_PLACE)
        raise raises(f"{place}: cannot be read: {system or one_line(error)}") from error


def one_line_with_place(error: BaseException) -> str:
    """Return an exception in one line, with the file and the line in which it was raised."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)  # a recursion may have millions
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return one_line(error) + place


class ExitCode(IntEnum):
    """Exit code of a command of ours."""

    SUCCESS = 0
    NO_NETWORK = 1  # the budget is spent, and no network has learnt
    PROBLEM_FOUND = 1  # by a check of a cluster profile
    USER_ERROR = 2
    STOPPED = 130  # before the budget was spent, by Ctrl-C, a signal or a stop request; the same command carries on
    CUT_SHORT = 128 + signal.SIGPIPE  # the reader of its output has ended, such as head


FINISHED = (ExitCode.SUCCESS, ExitCode.NO_NETWORK)  # of a search whose budget is spent
