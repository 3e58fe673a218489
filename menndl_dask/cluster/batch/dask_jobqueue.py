"""The import of dask-jobqueue, without its change of signal handlers. Runs on the driver.

Its module of runners replaces the handler of Ctrl-C by `sys.exit`, so that a driver would end without closing its run.
Importing it still writes a commented file into the user's Dask configuration.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask

_BEFORE = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
_ON_CTRL_C = signal.getsignal(signal.SIGINT)

import dask_jobqueue  # noqa: E402
from dask_jobqueue.core import Job, JobQueueCluster  # noqa: E402
from dask_jobqueue.local import LocalJob  # noqa: E402

if _ON_CTRL_C is not None:  # None if it was not set from Python
    signal.signal(signal.SIGINT, _ON_CTRL_C)
signal.pthread_sigmask(signal.SIG_SETMASK, _BEFORE)

__all__ = ["Job", "JobQueueCluster", "LocalJob", "dask_jobqueue", "own_defaults"]


@contextmanager
def own_defaults() -> Iterator[None]:
    """Use the defaults of dask-jobqueue; what the user's configuration has in their place is in the `Site` already."""
    settings: dict[str, Any] = {}
    dask.config.refresh(config=settings, paths=[], env={})
    with dask.config.set({"jobqueue": settings["jobqueue"]}):
        yield
