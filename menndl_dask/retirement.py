"""The retirement of a worker before its batch job ends, or when that ends it: it takes no more. Runs on a worker.

Loaded by ``dask worker --preload``. Dask's own ``--lifetime`` throws away what is being evaluated, and with the last
worker what was evaluated but not collected. A worker retires at the time that its environment says, or as soon as an
evaluation could not be finished there, or not even begun.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

from distributed import Worker, get_worker
from distributed.core import Status

from menndl_dask.environment import JOB_END, JOB_START, RETIRE_AT

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_MOST = 0.5  # of a job: what takes longer begins in the first half of any job, and is carried on in another
_CLOSE_S = 10  # of the thirty seconds that a batch system usually leaves between the signal to end and the end
_END_IS_NEAR = "the end of the batch job is near"
_running: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


async def dask_setup(worker: Worker) -> None:
    """Let the worker retire at the time that its environment says; `distributed` calls this when the worker starts."""
    if worker.nanny is None and threading.current_thread() is threading.main_thread():
        _close_at_a_signal(worker)
    at = os.environ.get(RETIRE_AT)
    if at:
        _start(worker, float(at), _END_IS_NEAR)


def is_too_late_for(seconds: float) -> bool:
    """Tell whether the batch job of this worker ends before an evaluation of so many seconds would; if so, retire.

    Parameters
    ----------
    seconds
        What the evaluation is expected to take. One that would take more than half of a job is begun in its first half,
        since a new job could not do better.
    """
    end = float(os.environ.get(JOB_END) or math.inf)
    start = float(os.environ.get(JOB_START) or -math.inf)
    left = end - time.time()
    if left >= min(seconds, _MOST * (end - start)):
        return False
    return retire_now(_END_IS_NEAR)


def retire_now(reason: str) -> bool:
    """Have the worker that this runs on take no more, and leave when it is idle; tell whether this is on a worker."""
    try:
        worker = get_worker()
    except ValueError:
        return False
    # in the order of the event loop it takes nothing any more before it is known that this evaluation was not begun
    worker.loop.add_callback(_start, worker, 0.0, reason)
    return True


def _start(worker: Worker, at: float, reason: str) -> None:
    if at <= time.time():
        worker.status = Status.paused
    _keep(_retire(worker, at, reason))


def _keep(coroutine: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(coroutine)
    _running.add(task)
    task.add_done_callback(_running.discard)


def _close_at_a_signal(worker: Worker) -> None:
    """Let a worker close before Dask ends its event loop at SIGTERM, as a nanny does for its own.

    Dask cancels all that runs there. Where the scheduler has just asked the worker to close, what closes it is
    cancelled too, and the rest waits for the end of that until the batch system kills the process.
    """
    loop = asyncio.get_running_loop()
    dasks = signal.getsignal(signal.SIGTERM)
    assert callable(dasks), "Dask waits for signals before it starts a worker"

    async def close(number: int) -> None:
        try:
            with suppress(TimeoutError):
                # not waiting for an evaluation: it is lost, and the trainer is ended when this process is
                await asyncio.wait_for(worker.close(executor_wait=False, reason=f"signal-{number}"), _CLOSE_S)
        finally:  # whatever went wrong in closing
            dasks(number, None)

    def begin(number: int, _: FrameType | None) -> None:
        signal.signal(number, dasks)  # who asks again has no patience
        loop.call_soon_threadsafe(_keep, close(number))

    signal.signal(signal.SIGTERM, begin)


async def _retire(worker: Worker, at: float, reason: str) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    if worker.status not in (Status.running, Status.paused):
        return  # it is leaving already
    logger.info("%s: no further evaluation is taken", reason)
    worker.status = Status.paused
    while worker.state.executing or worker.state.long_running:
        await asyncio.sleep(_LOOK_S)
    # what is finished may still be on its way to the driver
    await worker.close_gracefully(restart=False, reason=reason)
