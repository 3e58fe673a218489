"""The error tree. Pure.

::

    MenndlError
    ├── UserError                something in a file, an option or the data is not as expected
    │   ├── ProfileError         a cluster profile
    │   ├── DataError            the labelled images: a missing variable, a wrong shape, a NaN label, …
    │   └── RunError             a run directory: held by another driver, damaged, of another problem
    ├── GenomeError              a genome that cannot be read, built or encoded
    │   └── InfeasibleError      no network can be built from it: a shape does not fit, a limit is exceeded
    ├── NodeError                the node of a worker: its disk has no room, or it cannot read the data
    └── TrainerError             the child process that holds Keras could not be used

A message says what was expected and what came, with the file and the key. The command line prints a
`UserError` as one line, without a traceback.
"""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300  # characters of an exception or of another program's message


class MenndlError(Exception):
    """Base class of the errors of this package."""


class UserError(MenndlError):
    """A file, an option or a value from the user is not as expected."""


class ProfileError(UserError):
    """A cluster profile is not as expected."""


class DataError(UserError):
    """The labelled images are not as expected."""


class RunError(UserError):
    """A run directory cannot be used."""


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


def shortened(text: str) -> str:
    r"""Return a message in one line of at most 300 characters, without the colours of a terminal.

    >>> shortened("\x1b[1mtwo\nlines\x1b[0m")
    'two lines'
    """
    return " ".join(_COLOUR.sub("", text).split())[:_LONGEST]


def one_line(error: BaseException) -> str:
    r"""Return the type and the message of an exception in one line of at most 300 characters.

    >>> one_line(ValueError("expected a number,\ngot 'four'")), one_line(TimeoutError())
    ("ValueError: expected a number, got 'four'", 'TimeoutError')
    """
    return shortened(f"{type(error).__name__}: {error}" if str(error).strip() else type(error).__name__)


def one_line_with_place(error: BaseException) -> str:
    """Return an exception in one line, with the file and the line in which it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
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
