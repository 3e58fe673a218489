"""Clusters: where the worker processes are, from a profile. Runs on the driver."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Self

import dask
from distributed import Client, LocalCluster
from distributed.client import ensure_default_client
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.utils import format_dashboard_link

from menndl_dask.dask_settings import DASK_SETTINGS
from menndl_dask.device import CORES_TO_PREPARE, grants, pinned, visible
from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import ProfileError
from menndl_dask.port import LOOPBACK, free_port
from menndl_dask.profile import Local, Profile, Scheduler, read_profile
from menndl_dask.site import Site

_RECONNECT_S = 30
_POLL_S = 0.1
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Cluster:
    """Workers that are there, or come and go. Made by `load_cluster`.

    Parameters
    ----------
    profile
        Where the workers are.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._stack = ExitStack()
        self._started: DaskCluster | None = None
        self._dashboard: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # for this process and the workers it starts; the user's files stay as they are
            stack.enter_context(dask.config.set(DASK_SETTINGS))
            if isinstance(self.profile, Local):
                self._started = stack.enter_context(_local_cluster(self.profile))
            elif isinstance(self.profile, Site):
                from menndl_dask.site_cluster import site_cluster  # loads dask-jobqueue

                with _interrupts_held():
                    self._started = stack.enter_context(site_cluster(self.profile))
            if self._started is not None and not isinstance(self.profile, Scheduler) and _has_dashboard(self.profile):
                # Dask's own link names the host of the scheduler, where nothing but the loopback address listens
                services = self._started.scheduler_info["services"]
                self._dashboard = format_dashboard_link(LOOPBACK, services["dashboard"])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with _undisturbed():
            self._stack.close()

    @property
    def dashboard(self) -> str | None:
        """Address of the Dask dashboard, if there is one; of a scheduler that was already there, once a client is."""
        return self._dashboard

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Connect to the scheduler, for the time of a ``with`` statement.

        Raises
        ------
        ProfileError
            If no scheduler answers.
        """
        with _connected(self._started or self.profile) as client:
            self._dashboard = self._dashboard if self._started is not None else client.dashboard_link or None
            yield client


def load_cluster(profile: str | Path | Profile = "local", *, workers: int | None = None) -> Cluster:
    """Return the cluster of a profile; its workers start with its ``with`` statement and end with it.

    ::

        with load_cluster("local", workers=2) as cluster, cluster.client() as client:
            ...

    Parameters
    ----------
    profile
        A YAML file, the name of a profile that is shipped, or a profile.
    workers
        Number of workers in place of the profile's, where it starts them.

    Raises
    ------
    ProfileError
        If the profile is not as expected; the message names the file and the key.
    """
    read = read_profile(profile) if isinstance(profile, (str, Path)) else profile
    if workers is None:
        return Cluster(read)
    if isinstance(read, Scheduler):
        raise ProfileError(f"workers: expected none, since the scheduler of this profile has its own, got {workers}")
    if workers < 1:
        raise ProfileError(f"workers: expected an integer ≥ 1, got {workers}")
    if isinstance(read, Local):
        return Cluster(replace(read, workers=workers))
    return Cluster(replace(read, jobs=read.jobs_for(workers)))


@contextmanager
def _local_cluster(profile: Local) -> Iterator[LocalCluster]:
    port = free_port([profile.dashboard_port or 0], LOOPBACK)
    with _interrupts_held(), warnings.catch_warnings():
        # somebody else may take the port in between; Dask then takes another one, and we say which
        warnings.filterwarnings("ignore", message=r"\s*Port \d+ is already in use")
        cluster = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            host=LOOPBACK,
            # the scheduler's own pages (metrics, health) are served there too, dashboard or not
            dashboard_address=f"{LOOPBACK}:{port}",
            scheduler_kwargs={"dashboard": _has_dashboard(profile)},
            # a lost worker is told as a note of the run, not by Dask's own warnings
            silence_logs=logging.ERROR,
        )
    try:
        with _interrupts_held():
            cluster.worker_spec.update(_workers(profile, cluster.new_spec))
            cluster.sync(cluster._correct_state)  # noqa: SLF001 - scale would give all workers the same environment
        yield cluster
    finally:
        cluster.close(timeout=60)  # takes a second or two, but where others use the machine


def _workers(profile: Local, alike: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return each worker of this machine, with its share of the cores, and its own GPU where there are some."""
    slots = profile.gpus * profile.trainers_per_gpu
    count = profile.workers or slots or len(os.sched_getaffinity(0))
    # a nanny gives each worker one thread; the cores that workers leave idle are for their trainings
    threads = {TRAINING_THREADS: os.environ.get(TRAINING_THREADS) or str(max(1, len(os.sched_getaffinity(0)) // count))}
    is_free = slots > 0 and int(threads[TRAINING_THREADS]) >= CORES_TO_PREPARE
    is_ahead = is_free if profile.prepare_ahead is None else profile.prepare_ahead
    environment = threads | grants(profile.trainers_per_gpu, int(is_ahead))
    options = {**alike["options"], "nthreads": 1 + is_ahead, "env": environment}
    workers = {number: {**alike, "options": dict(options)} for number in range(count)}
    if profile.gpu_vendor is not None:
        devices = visible(os.environ, profile.gpu_vendor, profile.gpus)
        for number, worker in workers.items():
            device = devices[number // profile.trainers_per_gpu % len(devices)]
            changes = {name: value for name, value in pinned(profile.gpu_vendor, [device]).items() if value is not None}
            worker["options"]["env"] = environment | changes
    return workers


@contextmanager
def _connected(where: DaskCluster | Profile) -> Iterator[Client]:
    arguments: dict[str, Any] = {"address": where, "timeout": _RECONNECT_S}
    if isinstance(where, Scheduler):
        arguments = {"address": where.address, "scheduler_file": where.scheduler_file, "timeout": where.timeout_s}
        _await_file(where)
    try:
        # not the default one before it is connected: Dask closes a client that cannot connect for some errors only, and
        # whatever this process computed with Dask would wait for it, which never ends
        client = Client(**arguments, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # the last where there are no certificates for tls://
        told = getattr(where, "address", None) or getattr(where, "scheduler_file", None)
        raise ProfileError(f"{told}: expected a Dask scheduler, got no answer: {error}") from error
    try:
        with dask.config.set(scheduler="dask.distributed"):
            ensure_default_client(client)
            yield client
    finally:
        with _undisturbed():
            client.close(timeout=5)


def _await_file(profile: Scheduler) -> None:
    """Wait for a scheduler that is only starting, as Dask would, but not for ever."""
    deadline = time.monotonic() + profile.timeout_s
    while profile.scheduler_file is not None and (lacking := _lacking(Path(profile.scheduler_file))):
        if time.monotonic() >= deadline:
            raise ProfileError(f"scheduler_file: expected the file of a running scheduler, got {lacking}")
        time.sleep(_POLL_S)


def _lacking(file: Path) -> str:
    """Return what is wrong with a scheduler file, which may be half written; nothing if it names an address."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        return f"no {file}" if isinstance(error, FileNotFoundError) else f"{file}: {error.strerror}"
    except ValueError:
        return f"{file}, which is not JSON"
    return "" if isinstance(values, dict) and values.get("address") else f"{file}, which has no address"


def _has_dashboard(profile: Local | Site) -> bool:
    return profile.dashboard_port is not None and find_spec("bokeh") is not None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let threads and processes that are started here never see Ctrl-C, which is the driver's to handle.

    A terminal sends it to all processes of its group; a worker that gets it dies with a traceback. Threads inherit the
    mask, and so do the processes that they start, also the workers that take a dead one's place.
    """
    # it unblocks signals when it starts, which must not be later (https://github.com/python/cpython/issues/127586)
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off a second Ctrl-C, or request to end, until all is closed: or the impatient leave jobs and credentials."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda *told: came.append(told[0])) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    for again in dict.fromkeys(came):
        signal.raise_signal(again)
