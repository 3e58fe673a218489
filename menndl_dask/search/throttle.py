"""A throttle for costly reactions to new results, such as rewriting a report. Runs on the driver."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from menndl_dask.errors import UserError
from menndl_dask.run.run import Run

_SHARE = 0.02  # of the time that the action may take
_LEAST_S = 5.0  # between two calls

logger = logging.getLogger(__name__)


class Throttle:
    """Calls an action, if any, with the run of a directory, so seldom that it takes at most two percent of the time.

    After it has raised an exception it is not called again, but for a `UserError`.
    """

    def __init__(self, action: Callable[[Run], object] | None, path: Path) -> None:
        self._action = action
        self._path = path
        self._next = 0.0
        self._said = ""  # the last error, which is not said again

    def __call__(self, now: float) -> None:
        """Call the action if enough time has passed; `now` is the monotonic clock in seconds."""
        if self._action is None or now < self._next:
            return
        begun = time.monotonic()
        try:
            self._action(Run(self._path))
        except UserError as error:  # such as of a full disk, which may have room again
            if str(error) != self._said:
                logger.warning("the action on new results failed, and is tried again: %s", error)
            self._said = str(error)
        except Exception:
            logger.exception("the action on new results failed; the search goes on without it")
            self._action = None
        ended = time.monotonic()
        self._next = ended + max(_LEAST_S, (ended - begun) / _SHARE)
