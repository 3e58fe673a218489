"""The failure of a training in words, whatever a user's exception does when it is shown. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from menndl_dask.errors import InfeasibleError, MenndlError, message_of, one_line, one_line_with_place

_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
_OUT_OF_MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "OOM when allocating")
_MOST_FRAMES, _MOST_CAUSES = 100, 8
_LONGEST_MESSAGE, _LONGEST_TRACE = 2_000, 50_000  # characters


class Ended(Exception):  # noqa: N818 - an outcome, not an error
    """The training has ended with a failure that is not an error."""

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def outcome_of(training: Callable[[], float]) -> dict[str, Any]:
    """Run a training; return the last message about it, with its fitness or its failure."""
    try:
        return {"fitness": training()}
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything, SystemExit included
        return describe(error)


def describe(error: BaseException) -> dict[str, str]:
    """Return the message about the exception that ended a training, for `ResultBuilder.update`; it never raises.

    >>> describe(KeyboardInterrupt())
    {'failure': 'error', 'message': 'KeyboardInterrupt', 'trace': 'KeyboardInterrupt'}
    """
    try:
        ours = isinstance(error, (Ended, MenndlError))
        text = message_of(error)[:_LONGEST_MESSAGE] if ours else one_line_with_place(error)
        return {"failure": _kind(error), "message": text, "trace": _trace(error)}
    except BaseException as failed:  # noqa: BLE001 - else an exception of a user's would be a process that died
        return {"failure": "error", "message": f"an exception that cannot be shown: {type(failed).__name__}"}


def _kind(error: BaseException) -> str:
    if isinstance(error, Ended):
        return error.failure
    if isinstance(error, InfeasibleError):
        return "infeasible"
    names = {kind.__name__ for kind in type(error).__mro__}
    if names.intersection(_OUT_OF_MEMORY) or any(words in message_of(error) for words in _OUT_OF_MEMORY_WORDS):
        return "out_of_memory"
    return "error"


def _trace(error: BaseException) -> str:
    """Return the traceback, the exceptions that caused it first; long messages and deep recursions are cut."""
    parts = ["".join(traceback.format_tb(each.__traceback__, -_MOST_FRAMES)) + one_line(each) for each in _chain(error)]
    return "\n\n".join(reversed(parts))[-_LONGEST_TRACE:]


def _chain(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if each is None:
            return
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
