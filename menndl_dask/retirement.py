"""The retirement of a worker before its batch job ends: it takes no more, and leaves when idle. Runs on a worker.

Loaded by ``dask worker --preload``. Dask's own ``--lifetime`` throws away what is being evaluated, and with the last
worker what was evaluated but not collected.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from distributed import Worker
from distributed.core import Status

from menndl_dask.launcher import RETIRE_AT

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_running: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


async def dask_setup(worker: Worker) -> None:
    """Let the worker retire at the time that its environment says; `distributed` calls this when the worker starts."""
    at = os.environ.get(RETIRE_AT)
    if at:
        task = asyncio.create_task(_retire(worker, float(at)))
        _running.add(task)
        task.add_done_callback(_running.discard)


async def _retire(worker: Worker, at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    logger.info("the end of the batch job is near: no further evaluation is taken")
    worker.status = Status.paused
    while worker.state.executing or worker.state.long_running:
        await asyncio.sleep(_LOOK_S)
    # what is finished may still be on its way to the driver
    await worker.close_gracefully(restart=False, reason="the end of the batch job is near")
