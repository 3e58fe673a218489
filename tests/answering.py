"""A child process for tests: it answers what it is asked, and dies when it is told to."""

from __future__ import annotations

import os
import sys
from typing import Any

from menndl_dask.evaluation.child_process import connect_to_parent, serve


def answer(frame: Any) -> Any:
    """Answer `pid` with the process number, `raise` with an exception, and what else is known here."""
    if not isinstance(frame, str):
        return frame
    if frame == "pid":
        return os.getpid()
    if frame == "raise":
        raise ValueError("expected something else")
    if frame == "print":
        print("in between")  # noqa: T201 - what a user's code might do
    if frame == "die":
        sys.stderr.write("I was told to die\n")
        sys.exit(3)
    if frame == "hang":
        os.read(os.pipe()[0], 1)
    return frame


if __name__ == "__main__":
    serve(connect_to_parent(), answer)
