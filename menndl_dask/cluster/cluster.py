"""Clusters: start the workers of a profile, and connect to them. Runs on the driver."""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from typing import Any, Self

import dask
from distributed import Client
from distributed.client import ensure_default_client
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.utils import format_dashboard_link

from menndl_dask.cluster import live_tab, unguarded
from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.credentials import private_folder
from menndl_dask.cluster.dask_config import DASK_SETTINGS, cluster_settings, tell_ignored_settings
from menndl_dask.cluster.local_cluster import RestoringCluster
from menndl_dask.cluster.local_workers import LocalWorkers
from menndl_dask.cluster.machine import check_machine
from menndl_dask.cluster.ports import LOOPBACK, free_port
from menndl_dask.cluster.profile import MOST, Local, Profile, Scheduler, read_profile
from menndl_dask.cluster.steady_clock import keep_time_steady
from menndl_dask.errors import ProfileError, one_line, shortened
from menndl_dask.problem import BACKENDS
from menndl_dask.program.interruption import kept_from_children, uninterrupted
from menndl_dask.validation import one_of, shown

logger = logging.getLogger(__name__)

_RECONNECT_S = 30
_ADDRESS = re.compile(r"((tcp|tls|wss?)://)?(\[[^\]\s]+\]|[^\s/:\[\]]+):\d{1,5}(/\S*)?")
_CLOSE_S = 60
_POLL_S = 0.1
_LONGEST_FILE = 2**20  # characters of a scheduler file that are read


class Cluster:
    """The workers of a profile. Made by `load_cluster`."""

    def __init__(self, profile: Profile, backend: str | None = None) -> None:
        self.profile = profile
        self._workers = LocalWorkers(profile, backend) if isinstance(profile, Local) else None
        self._stack = ExitStack()
        self._started: DaskCluster | None = None
        self._dashboard: str | None = None

    def __enter__(self) -> Self:
        unguarded.leave_if_imported()
        keep_time_steady()
        try:
            with uninterrupted():
                self._start()
            if self._workers is not None and isinstance(self._started, RestoringCluster):
                trouble = self._started.sync(self._started.begin, self._workers.options())  # type: ignore[no-untyped-call]
                if self._started.is_unguarded:
                    raise SystemExit(f"{Path(sys.argv[0]).name}: {unguarded.ADVICE}")
                if trouble:
                    raise ProfileError(f"no worker starts on this machine: {trouble}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        with uninterrupted():
            self._stack.close()

    def _start(self) -> None:
        # for this process and the workers that it starts; the user's files are not changed
        is_ours = not isinstance(self.profile, Scheduler)
        self._stack.enter_context(dask.config.set(cluster_settings() if is_ours else DASK_SETTINGS))
        if isinstance(self.profile, Scheduler):
            return
        tell_ignored_settings()
        if isinstance(self.profile, Local):
            self._started = self._stack.enter_context(_local_cluster(self.profile))
            self._started.most_per_gpu = 1 if self._workers is None else self._workers.most
        else:
            from menndl_dask.cluster.batch.site_cluster import site_cluster  # loads dask-jobqueue

            self._started = self._stack.enter_context(site_cluster(self.profile))
        if _has_dashboard(self.profile):
            # Dask's own link has the host of the scheduler, but the dashboard listens on the loopback address only
            live_tab.link(self._started.scheduler)
            services = self._started.scheduler_info["services"]
            with suppress(Exception):  # of a link of the user's own, which names what is not there
                self._dashboard = format_dashboard_link(LOOPBACK, services["dashboard"])

    @property
    def description(self) -> str:
        """What the workers compute on, in one line; empty where the profile alone says it."""
        return "" if self._workers is None else self._workers.text()

    @property
    def dashboard(self) -> str | None:
        """Address of the Dask dashboard. None without one, and for a running scheduler before a client is connected."""
        return self._dashboard

    @property
    def live(self) -> str | None:
        """Address of the live page of a search, on the port of the dashboard. None where there is no dashboard."""
        if self._dashboard is None or isinstance(self.profile, Scheduler):  # its user has not always added the page
            return self._dashboard
        return f"{self._dashboard.rpartition('/')[0]}/{live_tab.KEY}"

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


def load_cluster(
    profile: str | Path | Profile = "local", *, workers: int | None = None, backend: str | None = None
) -> Cluster:
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
    backend
        Of Keras: GPUs of this machine that it cannot use are left out; None for that of the environment.

    Raises
    ------
    ProfileError
        If the profile is not as expected; the message names the file and the key.
    """
    read = read_profile(profile) if isinstance(profile, (str, Path)) else profile
    if not isinstance(read, (Local, Scheduler, Site)):
        raise ProfileError(f"profile: expected the name of a profile or a file, such as 'local', got {read!r}")
    if backend is not None:
        one_of(BACKENDS).demand("backend", backend)
    if workers is None:
        return Cluster(read, backend)
    if isinstance(read, Scheduler):
        raise ProfileError(f"workers: expected none, since the scheduler of this profile has its own, got {workers}")
    if not isinstance(workers, int) or workers < 1:
        raise ProfileError(f"workers: expected an integer ≥ 1, got {workers}")
    if isinstance(read, Local):
        if workers > MOST:
            raise ProfileError(f"workers: expected at most {MOST} on a machine, got {workers}")
        return Cluster(replace(read, workers=workers), backend)
    return Cluster(replace(read, jobs=read.jobs_for(workers)))


@contextmanager
def _local_cluster(profile: Local) -> Iterator[RestoringCluster]:
    check_machine()
    port = free_port([profile.dashboard_port or 0], LOOPBACK)
    # Dask's own folder there may be another user's
    above = Path(dask.config.get("temporary-directory") or tempfile.gettempdir())
    with (
        private_folder(above, "menndl-workers") as folder,
        dask.config.set({"temporary-directory": str(folder)}),
    ):
        with kept_from_children(), warnings.catch_warnings():
            # another process may take the port in between; Dask then takes a free one
            warnings.filterwarnings("ignore", message=r"\s*Port \d+ is already in use")
            cluster = RestoringCluster.started(port, _has_dashboard(profile))
        try:
            yield cluster
        finally:
            try:
                cluster.close(timeout=_CLOSE_S)  # takes a second or two, longer on a busy machine
            except TimeoutError:  # must not take the place of the error that led here; workers end with this program
                logger.warning("the workers did not answer within %d s at the end", _CLOSE_S)


@contextmanager
def _connected(where: DaskCluster | Profile) -> Iterator[Client]:
    arguments: dict[str, Any] = {"address": where, "timeout": _RECONNECT_S}
    if isinstance(where, Scheduler):
        address = where.address or _address_in(where)
        if not _ADDRESS.fullmatch(address):  # Dask's client prints a traceback when it ends
            expected = "the address of a Dask scheduler, such as tcp://10.0.0.1:8786"
            raise ProfileError(f"{where.scheduler_file or 'address'}: expected {expected}, got {shown(address)}")
        arguments = {"address": address, "timeout": where.timeout_s}
    try:
        # not the default client before it is connected: Dask closes a client that cannot connect for some errors only,
        # and other computations with Dask in this process would wait for it for ever
        with nullcontext() if isinstance(where, Scheduler) else uninterrupted():
            client = Client(**arguments, set_as_default=False)
    # TypeError without certificates for tls://, AssertionError where its thread does not start within ten seconds
    except (OSError, ValueError, TypeError, AssertionError, MemoryError) as error:
        if not isinstance(where, Scheduler):
            raise ProfileError(f"the scheduler of this program gives no answer: {one_line(error)}") from error
        if isinstance(error, MemoryError):  # what Dask reads as the length of a message is text
            for frame, _ in walk_tb(error.__traceback__):
                if isinstance(failed := frame.f_locals.get("self"), Client):
                    failed.status = "closed"  # as for the other errors; else it waits ten seconds when it is collected
            other = "expected a Dask scheduler, got the answer of another program, such as the dashboard"
            raise ProfileError(f"{arguments['address']}: {other}") from error
        name, why = arguments["address"], shortened(str(error)) or "this machine is too busy to start a thread"
        raise ProfileError(f"{name}: expected a Dask scheduler, got no answer: {why}") from error
    address = str(getattr(client.scheduler, "address", ""))
    if isinstance(where, Scheduler) and not address.startswith("tls://"):
        logger.warning("%s is not encrypted: each user who can connect to it can run programs as you", address)
    try:
        with dask.config.set(scheduler="dask.distributed"):
            ensure_default_client(client)
            yield client
    finally:
        with uninterrupted():
            client.close(timeout=5)


def _address_in(profile: Scheduler) -> str:
    """Return the address in a scheduler file; wait for it for as long as the profile says."""
    file = Path(str(profile.scheduler_file))
    deadline = time.monotonic() + profile.timeout_s
    while True:
        address, defect = _read_address(file)
        if address:
            return address
        if time.monotonic() >= deadline:
            raise ProfileError(f"scheduler_file: expected the file of a running scheduler, got {defect}")
        time.sleep(_POLL_S)


def _read_address(file: Path) -> tuple[str, str]:
    """Return the address in a scheduler file, which may be half written, or what is wrong with the file."""
    try:
        if not file.exists():
            return "", f"no {file}"
        if not file.is_file():  # a pipe would be waited for
            return "", f"{file}, which is not a regular file"
        with file.open(encoding="utf-8") as opened:
            values = json.loads(opened.read(_LONGEST_FILE))
    except OSError as error:
        return "", f"{file}: {error.strerror}"
    except (ValueError, RecursionError):
        return "", f"{file}, which is not JSON"
    address = values.get("address") if isinstance(values, dict) else None
    return (address, "") if isinstance(address, str) and address else ("", f"{file}, which has no address")


def _has_dashboard(profile: Local | Site) -> bool:
    return profile.dashboard_port is not None and find_spec("bokeh") is not None
