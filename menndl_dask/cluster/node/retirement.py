"""The retirement of a worker before its batch job ends: it accepts no further evaluations. Runs on a worker.

Loaded by ``dask worker --preload``. Dask's own ``--lifetime`` discards evaluations that are running, and with the last
worker also results that were not collected. A worker retires at the time in its environment (`RETIRE_AT`), or as soon
as an evaluation cannot be finished or started there.
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
from menndl_dask.program.interruption import SAME_S

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_MAXIMUM_SHARE = 0.5  # of a job: a longer evaluation starts in the first half of a job, and continues in another one
_CLOSE_S = 10  # batch systems usually kill a job thirty seconds after the signal to end
RETIRED = "retired: "  # beginning of the reason with which a worker of ours closes
_END_IS_NEAR = "the end of the batch job is near"
_running: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


async def dask_setup(worker: Worker) -> None:
    """Retire the worker at the time in its environment. `distributed` calls this when the worker starts."""
    if worker.nanny is None and threading.current_thread() is threading.main_thread():
        _close_at_a_signal(worker)
    at = os.environ.get(RETIRE_AT)
    if at:
        _start(worker, float(at), _END_IS_NEAR)


def is_too_late_for(seconds: float) -> bool:
    """Return whether the batch job of this worker ends before an evaluation of this duration; if so, retire.

    An evaluation of more than half of a job starts in the first half of the job, since a new job would not be better.
    """
    end = float(os.environ.get(JOB_END) or math.inf)
    start = float(os.environ.get(JOB_START) or -math.inf)
    left = end - time.time()
    if left >= min(seconds, _MAXIMUM_SHARE * (end - start)):
        return False
    return retire_now(_END_IS_NEAR)


def retire_now(reason: str) -> bool:
    """Retire the worker on which this runs, once it is idle; return False if this does not run on a worker."""
    try:
        worker = get_worker()
    except ValueError:
        return False
    # the event loop pauses the worker before it reports that this evaluation was not started
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
    """Close a worker at SIGTERM before Dask ends its event loop, as a nanny does for its worker.

    Dask cancels all tasks of the event loop. If the scheduler has just asked the worker to close, this also cancels the
    closing task, for which the others then wait until the batch system kills the process.
    """
    loop = asyncio.get_running_loop()
    dasks = signal.getsignal(signal.SIGTERM)
    assert callable(dasks), "Dask waits for signals before it starts a worker"

    async def close(number: int) -> None:
        try:
            with suppress(TimeoutError):
                # do not wait for an evaluation: it is lost, and its trainer ends with this process
                await asyncio.wait_for(worker.close(executor_wait=False, reason=f"signal-{number}"), _CLOSE_S)
        finally:  # also if closing fails
            dasks(number, None)

    first = math.inf

    def begin(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first == math.inf:
            first = now
            loop.call_soon_threadsafe(_keep, close(number))
        elif now - first > SAME_S[signal.SIGTERM]:  # a second signal ends it at once; the keeper only passes it on
            dasks(number, frame)

    signal.signal(signal.SIGTERM, begin)


async def _retire(worker: Worker, at: float, reason: str) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    if worker.status not in (Status.running, Status.paused):
        return  # it is closing already
    logger.info("%s: this worker accepts no further evaluation", reason)
    worker.status = Status.paused
    while worker.state.executing or worker.state.long_running:
        await asyncio.sleep(_POLL_S)
    # results may still be on their way to the driver
    await worker.close_gracefully(restart=False, reason=f"{RETIRED}{reason}")
