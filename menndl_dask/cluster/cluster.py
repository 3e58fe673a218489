"""Clusters: start the workers of a profile, and connect to them. Runs on the driver."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Self

import dask
from distributed import Client
from distributed.client import ensure_default_client
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.utils import format_dashboard_link

from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.credentials import private_folder
from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.local_cluster import RestoringCluster
from menndl_dask.cluster.node.gpu import gpu_share_variables, gpu_visibility_variables, visible
from menndl_dask.cluster.ports import LOOPBACK, free_port
from menndl_dask.cluster.profile import Local, Profile, Scheduler, read_profile
from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import ProfileError

_RECONNECT_S = 30
_POLL_S = 0.1
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Cluster:
    """The workers of a profile. Made by `load_cluster`."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._stack = ExitStack()
        self._started: DaskCluster | None = None
        self._dashboard: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # for this process and the workers that it starts; the user's files are not changed
            stack.enter_context(dask.config.set(DASK_SETTINGS))
            if isinstance(self.profile, Local):
                self._started = stack.enter_context(_local_cluster(self.profile))
            elif isinstance(self.profile, Site):
                from menndl_dask.cluster.batch.site_cluster import site_cluster  # loads dask-jobqueue

                with _interrupts_held():
                    self._started = stack.enter_context(site_cluster(self.profile))
            if self._started is not None and not isinstance(self.profile, Scheduler) and _has_dashboard(self.profile):
                # Dask's own link has the host of the scheduler, but the dashboard listens on the loopback address only
                services = self._started.scheduler_info["services"]
                self._dashboard = format_dashboard_link(LOOPBACK, services["dashboard"])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with _signals_delayed():
            self._stack.close()

    @property
    def dashboard(self) -> str | None:
        """Address of the Dask dashboard. None without one, and for a running scheduler before a client is connected."""
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
    """Return the cluster of a profile. Its workers run during its ``with`` statement.

    ::

        with load_cluster("local", workers=2) as cluster, cluster.client() as client:
            ...

    Parameters
    ----------
    profile
        A YAML file, the name of a shipped profile, or a profile.
    workers
        Number of workers, in place of the number in the profile.

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
def _local_cluster(profile: Local) -> Iterator[RestoringCluster]:
    port = free_port([profile.dashboard_port or 0], LOOPBACK)
    # Dask's own folder there may be another user's
    with (
        private_folder(Path(tempfile.gettempdir()), "menndl-workers") as folder,
        dask.config.set({"temporary-directory": str(folder)}),
    ):
        with _interrupts_held(), warnings.catch_warnings():
            # another process may take the port in between; Dask then takes a free one
            warnings.filterwarnings("ignore", message=r"\s*Port \d+ is already in use")
            cluster = RestoringCluster(port, _has_dashboard(profile))
        try:
            if trouble := cluster.sync(cluster.begin, _environments(profile)):  # type: ignore[no-untyped-call]
                raise ProfileError(f"no worker starts on this machine: {trouble}")
            yield cluster
        finally:
            cluster.close(timeout=60)  # takes a second or two, longer on a busy machine


def _environments(profile: Local) -> dict[int, dict[str, str]]:
    """Return the environment variables of each worker: its share of the cores, and its own GPU if there are GPUs."""
    # a nanny would give each worker one thread; trainings use the other cores
    threads = os.environ.get(TRAINING_THREADS) or str(max(1, len(os.sched_getaffinity(0)) // profile.count))
    environments = {}
    for number in range(profile.count):
        environment = {TRAINING_THREADS: threads, **gpu_share_variables(profile.trainers_per_gpu)}
        if profile.gpu_vendor is not None:
            devices = visible(os.environ, profile.gpu_vendor, profile.gpus)
            device = devices[number // profile.trainers_per_gpu % len(devices)]
            variables = gpu_visibility_variables(profile.gpu_vendor, [device])
            environment |= {name: value for name, value in variables.items() if value is not None}
        environments[number] = environment
    return environments


@contextmanager
def _connected(where: DaskCluster | Profile) -> Iterator[Client]:
    arguments: dict[str, Any] = {"address": where, "timeout": _RECONNECT_S}
    if isinstance(where, Scheduler):
        arguments = {"address": where.address, "scheduler_file": where.scheduler_file, "timeout": where.timeout_s}
        deadline = time.monotonic() + where.timeout_s
        while where.scheduler_file is not None and (defect := _file_defect(Path(where.scheduler_file))):
            if time.monotonic() >= deadline:
                raise ProfileError(f"scheduler_file: expected the file of a running scheduler, got {defect}")
            time.sleep(_POLL_S)
    try:
        # not the default client before it is connected: Dask closes a client that cannot connect for some errors only,
        # and other computations with Dask in this process would wait for it for ever
        client = Client(**arguments, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError without certificates for tls://
        name = getattr(where, "address", None) or getattr(where, "scheduler_file", None)
        raise ProfileError(f"{name}: expected a Dask scheduler, got no answer: {error}") from error
    try:
        with dask.config.set(scheduler="dask.distributed"):
            ensure_default_client(client)
            yield client
    finally:
        with _signals_delayed():
            client.close(timeout=5)


def _file_defect(file: Path) -> str:
    """Return what is wrong with a scheduler file, which may be half written; empty if it has an address."""
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
    """Block Ctrl-C in threads and processes that are started here: only the driver handles it.

    A terminal sends it to all processes of its group, and a worker that receives it ends with a traceback. Threads
    inherit the mask, and so do the processes that they start, also workers that replace a lost one.
    """
    # it unblocks signals when it starts, so start it before (https://github.com/python/cpython/issues/127586)
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals_delayed() -> Iterator[None]:
    """Delay a second Ctrl-C or SIGTERM until all is closed: else batch jobs and credentials would stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.signal(number, lambda *arguments: received.append(arguments[0])) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    for again in dict.fromkeys(received):
        signal.raise_signal(again)
