"""The pace of what is done on news, such as rewriting a report: it is to cost little. Runs on the driver."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from menndl_dask.store import Run

_SHARE = 0.02  # of the time that may go into it
_LEAST_S = 5.0  # between two calls

logger = logging.getLogger(__name__)


class Throttle:
    """Calls what is to be done with a run when there is news, but spends a small share of the time on it.

    Parameters
    ----------
    action
        What is called; once it has raised an exception it is not called any more.
    path
        The run's directory.
    """

    def __init__(self, action: Callable[[Run], object] | None, path: Path) -> None:
        self._action = action
        self._path = path
        self._next = 0.0

    def __call__(self, now: float) -> None:
        """Call it if it is time to; `now` is the clock reading in seconds."""
        if self._action is None or now < self._next:
            return
        begun = time.monotonic()
        try:
            self._action(Run(self._path))
        except Exception:
            logger.exception("what is done on a change failed; the search goes on without it")
            self._action = None
        ended = time.monotonic()
        self._next = ended + max(_LEAST_S, (ended - begun) / _SHARE)
