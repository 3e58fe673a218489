"""Tests of `menndl_dask.cluster.local_cluster`: workers that end, or that do not start, with real processes."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed.security import Security
from distributed.utils import LoopRunner

from menndl_dask.cluster import local_cluster
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.node.retirement import retire_now
from menndl_dask.cluster.profile import Local
from menndl_dask.errors import ProfileError
from tests.processes import gone
from tests.slurm import until

QUIET = Local(workers=1, dashboard_port=None)


class Broken(local_cluster._Worker):
    """A worker that does not start."""

    async def start_unsafe(self) -> Any:
        raise OSError("no such disk")


def worker_processes() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def test_workers_that_are_killed_even_while_they_start_are_all_back_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    profile = Local(gpus=2, gpu_vendor="nvidia", dashboard_port=None)
    with load_cluster(profile) as cluster, cluster.client() as client:
        (folder,) = tmp_path.glob("menndl-workers-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        first = client.run(os.getpid)
        for pid in first.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: len({child.pid for child in worker_processes()} - set(first.values())) == 2)
        starting = worker_processes()[0]
        starting.kill()  # before it is connected
        assert gone(starting.pid)
        until(lambda: len(client.nthreads()) == 2 and not client.nthreads().keys() & first.keys())
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["5", "7"]
        assert len(worker_processes()) == 2
        assert client.cluster.trouble is None
    assert worker_processes() == []
    assert list(tmp_path.iterdir()) == []


def test_another_user_of_the_machine_cannot_connect() -> None:
    stranger = Security.temporary().get_connection_args("client")["ssl_context"]
    with load_cluster(QUIET) as cluster, cluster.client() as client:
        (worker,) = client.nthreads()
        for address in (client.scheduler.address, worker):
            host, _, port = address.removeprefix("tls://").partition(":")
            for context in (ssl._create_unverified_context(), stranger):
                plain = socket.create_connection((host, int(port)))
                with pytest.raises(OSError), context.wrap_socket(plain) as encrypted:  # noqa: PT011 - of several kinds
                    encrypted.recv(1)
                plain.close()


def test_workers_that_do_not_start_are_a_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "_Worker", Broken)
    monkeypatch.setattr(local_cluster, "_LONGEST_PAUSE_S", 0.0)
    told = r"no worker starts on this machine: 3 starts of workers in a row failed: .*no such disk"
    with pytest.raises(ProfileError, match=told) as caught, load_cluster(QUIET):
        pass
    assert "\n" not in str(caught.value)
    assert worker_processes() == []


def test_a_worker_that_cannot_evaluate_here_leaves_and_the_cluster_says_why_none_is_left() -> None:
    with load_cluster(QUIET) as cluster, cluster.client() as client:
        client.submit(retire_now, "no room on its disk").result(timeout=150)
        until(lambda: client.cluster.trouble is not None)
        assert client.cluster.trouble == "all workers of this machine have retired: no room on its disk"
        assert client.nthreads() == {}


def test_a_thread_that_starts_too_slowly_for_dask_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, failures = LoopRunner.start, iter([True])

    def slow(self: LoopRunner) -> None:
        assert not next(failures, False)
        start(self)

    monkeypatch.setattr(LoopRunner, "start", slow)
    with load_cluster(Local(workers=1, dashboard_port=None)) as cluster, cluster.client() as client:
        assert client.submit(len, "abc").result(timeout=150) == 3
    assert next(failures, None) is None
