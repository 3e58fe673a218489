"""The workers of this machine, which are started again when they end. Runs on the driver.

Dask's own local cluster closes a worker that is not back after a while, and starts no other. Here, each worker has a
task in the event loop of the cluster that starts it, waits for its end, and starts it again, until the cluster is
closed. All connections are encrypted, since a process that can connect to a scheduler can run programs as its user.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from distributed import LocalCluster, Nanny, Worker
from distributed.core import Status
from distributed.security import Security

from menndl_dask.cluster import unguarded
from menndl_dask.cluster.node.retirement import RETIRED
from menndl_dask.cluster.ports import LOOPBACK
from menndl_dask.errors import one_line
from menndl_dask.text import counted

logger = logging.getLogger(__name__)

_POLL_S = 1.0
_SHORT_S = 0.05
_REST_S = 30.0  # seconds to wait for the other workers after the first one
_START_S = 900.0  # a machine can be busy; a start that hangs for longer is begun anew
_MISSING_S = 60  # seconds for which a running worker may be unknown to the scheduler
_ATTEMPTS = 3  # failed starts in a row of each worker, after which no other is expected to succeed
_LONGEST_PAUSE_S = 60.0  # between two starts
_RETIREMENT_S = 60.0  # pause after a worker that could not evaluate on this machine; doubled each time
_END_S = 4.0  # seconds for a worker to end by itself


class RestoringCluster(LocalCluster):
    """A scheduler in this process, and workers on this machine that are started again when they end.

    Parameters
    ----------
    dashboard_port
        Port of the HTTP server of the scheduler on the loopback address.
    has_dashboard
        Whether it shows Dask's dashboard.

    Attributes
    ----------
    trouble
        Error message once no worker is left, and none is expected to start. None before.
    most_per_gpu
        Networks that a worker may train on its GPU at the same time. The search chooses how many if it is not 1.
    """

    most_per_gpu = 1

    def __init__(self, dashboard_port: int, has_dashboard: bool) -> None:
        self.trouble: str | None = None
        self._places: list[_Place] = []
        self._keepers: list[asyncio.Task[None]] = []
        try:
            super().__init__(  # type: ignore[no-untyped-call]
                n_workers=0,
                threads_per_worker=1,
                worker_class=_Nanny,
                memory_limit=0,
                host=LOOPBACK,
                # in memory only: the workers get them through the pipe with which they are started
                security=Security.temporary(),
                # the scheduler's own pages (metrics, health) are served there also without a dashboard
                dashboard_address=f"{LOOPBACK}:{dashboard_port}",
                scheduler_kwargs={"dashboard": has_dashboard},
                # the run reports a lost worker, and `trouble` says why none starts
                silence_logs=logging.CRITICAL,
            )
        except AssertionError:
            self.status = Status.closed  # else it is said to be left open
            raise

    @classmethod
    def started(cls, dashboard_port: int, has_dashboard: bool) -> Self:
        """Return a cluster whose scheduler runs, also on a machine where its thread starts slowly.

        Dask expects the thread of its event loop within ten seconds, and raises an `AssertionError` otherwise.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return cls(dashboard_port, has_dashboard)
            except AssertionError:
                logger.warning("the event loop of Dask did not start in time; trying again")
        return cls(dashboard_port, has_dashboard)

    async def begin(self, options: Mapping[int, Mapping[str, Any]]) -> str | None:
        """Start a worker with each of the options, keep them running; return when all were tried and one has started.

        Returns
        -------
        str or None
            Why no worker starts; None if one has started.
        """
        alike = {**self.new_spec["options"], "worker_class": _Worker}
        self._places = [_Place({**alike, "name": name, **own}) for name, own in options.items()]
        self._ending = asyncio.Event()
        self._keepers = [asyncio.create_task(self._keep(place)) for place in self._places]
        waited = 0.0
        while self.trouble is None and waited < _REST_S and not all(place.was_tried for place in self._places):
            await asyncio.sleep(_SHORT_S)
            waited += _SHORT_S if self._dask_scheduler.workers else 0.0
        while self.trouble is None and not self._dask_scheduler.workers:
            await asyncio.sleep(_SHORT_S)
        return self.trouble

    @property
    def _dask_scheduler(self) -> Any:
        return self.scheduler

    async def _close(self) -> None:
        if self._keepers:
            self._ending.set()
            await asyncio.gather(*self._keepers, return_exceptions=True)
        await super()._close()  # type: ignore[no-untyped-call]

    async def _keep(self, place: _Place) -> None:
        """Start a worker, and start it again whenever it has ended."""
        while not self._ending.is_set():
            try:
                await self._live(place)
            except Exception as error:  # an error in Dask's own code must not cost a worker
                logger.debug("a worker has failed", exc_info=True)
                place.record_failure(one_line(error))
            self._judge()
            if not self._ending.is_set():
                await self._pause(place.pause_s)

    async def _live(self, place: _Place) -> None:
        """Start a worker, and return when it has ended."""
        nanny = place.nanny = _Nanny(self._dask_scheduler.address, **place.options)
        starting = asyncio.ensure_future(nanny.start())  # type: ignore[no-untyped-call]
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({starting, ending}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                place.record_failure(f"it has not started within {_START_S:g} s")
            elif (error := starting.exception()) is not None:
                cause = _cause(error)
                is_told = isinstance(cause, _WorkerStartError)
                place.is_unguarded = nanny.exit_code == unguarded.EXIT_CODE
                place.record_failure(str(cause) if is_told else nanny.end or one_line(cause))
            else:
                place.record_start()
                await self._until_ended(nanny)
                if nanny.retired_because:
                    place.record_retirement(nanny.retired_because)
        finally:
            ending.cancel()
            await _end(nanny, starting)
            if not self._ending.is_set():
                logger.info("worker %s has ended (%s); it is started again", nanny.name, nanny.end or place.why)

    async def _until_ended(self, nanny: _Nanny) -> None:
        missing = 0
        while nanny.status == Status.running and nanny.end is None and missing * _POLL_S < _MISSING_S:
            with suppress(TimeoutError):
                await asyncio.wait_for(nanny.ended.wait(), _POLL_S)
            if self._ending.is_set():
                return
            # a count of polls, not a time: this event loop may have been held up itself
            is_known = any(worker.name == nanny.name for worker in self._dask_scheduler.workers.values())
            missing = 0 if is_known else missing + 1

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    @property
    def is_unguarded(self) -> bool:
        """Whether workers end because they import a script that starts workers."""
        return any(place.is_unguarded for place in self._places)

    def _judge(self) -> None:
        """Give up if no worker is left and none is expected to start; take that back if one has started after all."""
        if self._dask_scheduler.workers or any(place.is_hopeful for place in self._places):
            self.trouble = None
            return
        why = next((place.why for place in reversed(self._places) if place.why), "")
        retired = all(place.has_retired for place in self._places)
        failed = f"{counted(sum(place.failures for place in self._places), 'start')} of workers in a row failed"
        self.trouble = f"all workers of this machine have retired: {why}" if retired else f"{failed}: {why}"


class _Place:
    """One worker of the cluster, over all of its starts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options
        self.nanny: _Nanny | None = None
        self.failures = 0  # starts in a row that failed
        self.retirements = 0
        self.has_retired = False
        self.was_tried = False
        self.is_unguarded = False  # see `menndl_dask.cluster.unguarded`
        self.why = ""

    @property
    def is_hopeful(self) -> bool:
        """Whether the next start of the worker is expected to succeed."""
        return self.failures < _ATTEMPTS and not self.has_retired and not self.is_unguarded

    @property
    def pause_s(self) -> float:
        """Seconds before the next start."""
        if self.has_retired:
            return float(_RETIREMENT_S * 2 ** min(self.retirements - 1, 6))
        return min(_LONGEST_PAUSE_S, 2.0 ** (self.failures - 1)) if self.failures else 0.0

    def record_start(self) -> None:
        self.failures, self.has_retired, self.was_tried, self.why = 0, False, True, ""

    def record_failure(self, why: str) -> None:
        self.failures += 1
        self.was_tried, self.why = True, why

    def record_retirement(self, why: str) -> None:
        self.retirements += 1
        self.has_retired, self.why = True, why


class _Nanny(Nanny):
    """The process of a worker. It is not started again here, but by the cluster, which counts failed starts."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.ended = asyncio.Event()
        self.end: str | None = None  # how the process has ended
        self.exit_code: int | None = None
        self.retired_because = ""

    def close_gracefully(self, reason: str = "") -> None:
        if reason.startswith(RETIRED):
            self.retired_because = reason.removeprefix(RETIRED)
        super().close_gracefully(reason=reason)

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        self.exit_code, self.end = exitcode, f"its process has exited with {exitcode}"
        with suppress(ValueError):  # it has exited by itself
            self.end = f"its process was killed by {signal.Signals(-exitcode).name}"
        self.ended.set()


class _WorkerStartError(Exception):
    """What a worker says of why it does not start."""


class _Worker(Worker):
    """A worker that says why it does not start. Runs on a worker."""

    async def __aenter__(self) -> Any:
        try:
            return await super().__aenter__()  # type: ignore[no-untyped-call]
        except Exception as error:
            # an exception loses its cause on the way to the driver
            raise _WorkerStartError(one_line(_cause(error))) from error


def _cause(error: BaseException) -> BaseException:
    """Return the first cause of an exception."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


async def _end(nanny: _Nanny, starting: asyncio.Future[Any]) -> None:
    """Close a worker, at once if it is starting."""
    while not starting.done():
        with suppress(AttributeError, ValueError, OSError):  # not begun, or ended meanwhile
            process: Any = nanny.process
            await process.process.kill()
        await asyncio.wait({starting}, timeout=0.1)
    starting.exception()  # so that Python does not report it
    if nanny.status not in (Status.closed, Status.failed):
        with suppress(TimeoutError, AssertionError):  # Dask's own, of a process in another state
            if nanny.process is not None:
                # an evaluation is lost, or was cancelled before
                await nanny.process.kill(timeout=_END_S, executor_wait=False)
        await nanny.close(timeout=_END_S)
