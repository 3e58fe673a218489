"""Stop requests for a run: a file in its directory, on a file system that all nodes see. Runs anywhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import RunError
from menndl_dask.run.layout import whole_run

DRIVER_ENDS = "MENNDL_DRIVER_ENDS"  # environment variable of a detached driver: when it stops, seconds since 1970
_FILE = "stop"


def ask(run: Path, who: str) -> None:
    """Ask the driver of a run to stop once its running evaluations are finished.

    Raises
    ------
    RunError
        If the request cannot be written.
    """
    path = run / _FILE
    try:
        files.write_text(path, f"{who}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n", root=whole_run(run))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def begin(run: Path) -> None:
    """Remove an old request when a driver begins; a driver from the queue obeys requests made while it waited."""
    if DRIVER_ENDS not in os.environ:
        withdraw(run)


def withdraw(run: Path) -> None:
    """Remove the stop request of a run.

    Raises
    ------
    RunError
        If it cannot be removed.
    """
    path = run / _FILE
    try:
        files.check_folders(path, whole_run(run))
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be removed: {error.strerror}") from error


def is_asked(run: Path) -> bool:
    """Return whether a user has asked a run to stop."""
    return (run / _FILE).is_file()


def reason(run: Path) -> str | None:
    """Return in words why a driver must stop: a request, or the end of its batch job; None if it need not."""
    if is_asked(run):
        return "asked to stop"
    ends = os.environ.get(DRIVER_ENDS)
    return "the driver's batch job ends" if ends and time.time() >= float(ends) else None
