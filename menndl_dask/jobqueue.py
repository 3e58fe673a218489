"""dask-jobqueue, imported without what it does to the process that imports it. Runs on the driver.

Its module of runners takes Ctrl-C away from the process (`signal.signal` with `sys.exit`): a driver would end in
silence instead of leaving its run in order. Importing it still writes a commented file into the user's Dask
configuration.
"""

from __future__ import annotations

import signal

_ON_CTRL_C = signal.getsignal(signal.SIGINT)

import dask_jobqueue  # noqa: E402
from dask_jobqueue.core import Job, JobQueueCluster  # noqa: E402
from dask_jobqueue.local import LocalJob  # noqa: E402

if _ON_CTRL_C is not None:  # nothing where it was not set from Python
    signal.signal(signal.SIGINT, _ON_CTRL_C)

__all__ = ["Job", "JobQueueCluster", "LocalJob", "dask_jobqueue"]
