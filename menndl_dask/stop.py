"""The wish that a run stop: a file in its directory, from anywhere on the shared file system. Runs anywhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

from menndl_dask import atomic

DRIVER_ENDS = "MENNDL_DRIVER_ENDS"  # in the environment of a detached driver: when it is to stop, seconds since 1970
_FILE = "stop"


def ask(run: Path, who: str) -> None:
    """Ask the driver of a run to stop once its running evaluations are finished."""
    atomic.write_text(run / _FILE, f"{who}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")


def begin(run: Path) -> None:
    """Forget an old wish when a driver begins; one in the queue obeys what was asked while it waited."""
    if DRIVER_ENDS not in os.environ:
        withdraw(run)


def withdraw(run: Path) -> None:
    """Forget that a run was asked to stop."""
    (run / _FILE).unlink(missing_ok=True)


def is_asked(run: Path) -> bool:
    """Return whether a user has asked a run to stop."""
    return (run / _FILE).exists()


def reason(run: Path) -> str | None:
    """Return in words why a driver is to stop, or nothing.

    It is if a user has asked for it, or if its batch job ends soon and another driver will carry on.
    """
    if is_asked(run):
        return "asked to stop"
    ends = os.environ.get(DRIVER_ENDS)
    return "the driver's batch job ends" if ends and time.time() >= float(ends) else None
