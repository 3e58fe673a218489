"""Clusters start, are reached, and end without a trace."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import dask
import psutil
import pytest
from distributed import default_client

from menndl_dask.cluster import cluster as clusters
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.profile import Local, Scheduler
from menndl_dask.errors import ProfileError

QUIET = Local(workers=1, dashboard_port=None)


def offspring() -> set[int]:
    """Return the processes that this one has started, but for those that Python keeps."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())}


def test_a_local_cluster_works_and_ends_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    before, saturation = offspring(), dask.config.get("distributed.scheduler.worker-saturation")
    with caplog.at_level(logging.WARNING), load_cluster("local", workers=2) as cluster, cluster.client() as client:
        assert list(client.nthreads().values()) == [1, 1]
        assert cluster.dashboard is not None
        assert cluster.dashboard.startswith("http://127.0.0.1:")
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.WORKER_SATURATION) == 1.0
        seen = client.run(lambda: dask.config.get("distributed.worker.memory.terminate"))
        assert list(seen.values()) == [False, False]
        assert {worker["memory_limit"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()} == {0}
        pids = client.run(os.getpid)
        assert set(pids.values()) <= offspring()
        # Ctrl-C in a terminal reaches every process of the group: it is the driver's alone
        for pid in pids.values():
            os.kill(pid, signal.SIGINT)
        assert client.run(os.getpid) == pids
    assert offspring() == before
    assert dask.config.get("distributed.scheduler.worker-saturation") == saturation
    assert not caplog.records


def test_each_worker_of_a_machine_with_gpus_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    profile = Local(gpus=2, gpu_vendor="nvidia", dashboard_port=None)
    with load_cluster(profile) as cluster, cluster.client() as client:
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["0", "1"]


def test_a_cluster_ends_soon_though_its_workers_are_busy() -> None:
    with load_cluster(QUIET) as cluster, cluster.client() as client:
        future = client.submit(time.sleep, 3600)
        while not any(client.processing().values()):
            client.run(os.getpid)
        ended = time.monotonic()
        del future
    assert time.monotonic() - ended < 200
    assert cluster.dashboard is None


def test_without_bokeh_there_is_no_dashboard_but_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    assert not clusters._has_dashboard(Local())


def test_a_scheduler_that_is_there_is_reached_by_file_and_by_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    options = ["--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as scheduler:
        try:
            with load_cluster(Scheduler(scheduler_file=str(file))) as cluster, cluster.client() as client:
                assert client.nthreads() == {}
            address = json.loads(file.read_text())["address"]
            with load_cluster(Scheduler(address=address)) as cluster, cluster.client() as client:
                assert client.scheduler.address == address
            said = {record.getMessage() for record in caplog.records if record.name == clusters.__name__}
            assert said == {f"{address} is not encrypted: each user who can connect to it can run programs as you"}
        finally:
            scheduler.terminate()


@pytest.fixture
def _failed_clients_are_collected() -> Iterator[None]:
    """Collect clients that could not connect: while another one is made, Dask would wait for its own lock."""
    gc.collect()
    yield
    gc.collect()


@pytest.mark.usefixtures("_failed_clients_are_collected")
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with (
        load_cluster(Scheduler(address="tcp://127.0.0.1:1", timeout_s=0.5)) as cluster,
        pytest.raises(ProfileError, match=r"tcp://127\.0\.0\.1:1: expected a Dask scheduler, got no answer") as caught,
        cluster.client(),
    ):
        pass
    assert "\n" not in str(caught.value)
    with (
        load_cluster(Scheduler(scheduler_file=str(tmp_path / "none.json"), timeout_s=0.2)) as cluster,
        pytest.raises(ProfileError, match="expected the file of a running scheduler"),
        cluster.client(),
    ):
        pass


@pytest.mark.usefixtures("_failed_clients_are_collected")
@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_another_program_at_the_address_is_one_line(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answered: list[socket.socket] = []

        def answer() -> None:
            with suppress(OSError):  # the server is closed
                while True:
                    answered.append(server.accept()[0])
                    answered[-1].sendall(greeting)

        thread = Thread(target=answer, daemon=True)
        thread.start()
        with (
            load_cluster(Scheduler(address=f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout_s=60)) as cluster,
            pytest.raises(ProfileError, match="expected a Dask scheduler, got the answer of another program"),
            cluster.client(),
        ):
            pass
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in answered:
            each.close()


@pytest.mark.parametrize(
    ("text", "told"), [('{"address": ', "file.json, which is not JSON"), ("{}", "file.json, which has no address")]
)
def test_a_damaged_scheduler_file_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    with (
        load_cluster(Scheduler(scheduler_file=str(file), timeout_s=0.2)) as cluster,
        pytest.raises(ProfileError, match=f"expected the file of a running scheduler, got .*{told}$"),
        cluster.client(),
    ):
        pass


def test_a_pipe_in_place_of_a_scheduler_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with (
        load_cluster(Scheduler(scheduler_file=str(tmp_path / "pipe.json"), timeout_s=0.2)) as cluster,
        pytest.raises(ProfileError, match=r"pipe\.json, which is not a regular file$"),
        cluster.client(),
    ):
        pass


@pytest.mark.usefixtures("_failed_clients_are_collected")
def test_an_encrypted_scheduler_without_certificates_to_show_it_is_one_line_and_forgotten() -> None:
    with (
        load_cluster(Scheduler(address="tls://127.0.0.1:1", timeout_s=0.5)) as cluster,
        pytest.raises(
            ProfileError, match=r"tls://127\.0\.0\.1:1: expected a Dask scheduler, got no answer: TLS expects"
        ) as caught,
        cluster.client(),
    ):
        pass
    # the error holds what could not connect, and yet nothing that is computed with Dask waits for it
    assert caught.value.__cause__ is not None and dask.config.get("scheduler", None) is None
    with pytest.raises(ValueError, match="No clients found"):
        default_client()


def test_a_machine_that_is_too_busy_to_start_a_client_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("menndl_dask.cluster.cluster.Client", busy)
    with (
        load_cluster(Scheduler(address="tcp://127.0.0.1:1", timeout_s=0.5)) as cluster,
        pytest.raises(ProfileError, match="got no answer: this machine is too busy to start a thread"),
        cluster.client(),
    ):
        pass


@pytest.mark.usefixtures("_failed_clients_are_collected")
def test_a_client_is_what_dask_computes_with_until_it_is_closed() -> None:
    def where() -> int:
        return int(dask.delayed(os.getpid)().compute())

    with load_cluster(QUIET) as cluster, cluster.client() as client:
        assert {where()} == set(client.run(os.getpid).values())
        assert default_client() is client
    assert where() == os.getpid()


def test_workers_can_be_given_only_where_they_are_started() -> None:
    assert load_cluster("local", workers=3).profile == Local(workers=3)
    assert load_cluster("local").profile == Local()
    with pytest.raises(ProfileError, match="expected an integer ≥ 1, got 0"):
        load_cluster("local", workers=0)
    with pytest.raises(ProfileError, match="has its own, got 2"):
        load_cluster("scheduler", workers=2)


@pytest.mark.parametrize("key", DASK_SETTINGS)
def test_dask_knows_every_setting(key: str) -> None:
    assert dask.config.get(key, "unknown") != "unknown"
