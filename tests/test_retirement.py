"""Workers near the end of their batch job: what they could not finish goes to others."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from menndl_dask.dask_settings import DASK_SETTINGS
from menndl_dask.environment import JOB_END, JOB_START
from menndl_dask.errors import RunError
from menndl_dask.evolution import Evolution
from menndl_dask.flight import Flight
from menndl_dask.individual import Evaluation
from menndl_dask.parcel import Task
from menndl_dask.problem import Limits
from menndl_dask.retirement import is_too_late_for
from tests import evaluations
from tests.evaluations import SPACE
from tests.processes import until

ROOT = Path(__file__).parents[1]


def _until(flight: Flight, count: int) -> list[Evaluation]:
    """Wait until so many results are home."""
    home: list[Evaluation] = []
    deadline = time.monotonic() + 60
    while len(home) < count and time.monotonic() < deadline:
        home += flight.arrivals(0.2)
    return home


def test_what_cannot_be_finished_is_not_begun_and_goes_to_a_worker_that_has_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    monkeypatch.setenv(JOB_START, str(now - 3600))
    monkeypatch.setenv(JOB_END, str(now + 100))
    evolution = Evolution(SPACE)
    with (
        dask.config.set(DASK_SETTINGS),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        flight = Flight(client, evaluations.instant, (None, Limits()))
        short, long = evolution.ask(), evolution.ask()
        flight.submit([Task(short, seconds=50)])
        assert [individual for individual, _ in _until(flight, 1)] == [short]
        flight.submit([Task(long, seconds=200)])
        while client.scheduler_info(n_workers=-1)["workers"]:  # it retires, since nothing better will come
            assert flight.arrivals(0.2) == []
        assert flight.notes == ["1 evaluation not begun on workers whose batch job ends too soon; put back"]
        assert flight.individuals == [long]
        monkeypatch.setenv(JOB_END, str(now + 7200))
        cluster.scale(2)
        assert [(individual, result.failure) for individual, result in _until(flight, 1)] == [(long, None)]
        assert len(flight.notes) == 1  # it did not go back and forth
        assert not flight


def test_a_worker_whose_node_cannot_hold_samples_leaves_and_what_it_had_is_put_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()  # nobody can make a folder in it
    with (
        dask.config.set(DASK_SETTINGS),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        flight = Flight(client, partial(evaluations.staging, disk), (None, Limits()))
        individual = Evolution(SPACE).ask()
        flight.submit([Task(individual)])
        while client.scheduler_info(n_workers=-1)["workers"]:
            assert flight.arrivals(0.2) == []
        (note,) = flight.notes
        told = rf"{socket.gethostname()}: {disk}/.*: cannot be written to: Not a directory"
        assert re.fullmatch(f"{told}; the worker leaves, 1 evaluation put back", note)
        with pytest.raises(RunError, match=f"no worker is left, and none will come: {told}"):
            flight.threads()
        disk.unlink()
        cluster.scale(2)
        assert [(one, result.failure) for one, result in _until(flight, 1)] == [(individual, None)]
        assert not flight


def test_what_takes_longer_than_a_job_begins_in_the_first_half_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_too_late_for(1e9)  # the end is not known
    now = time.time()
    monkeypatch.setenv(JOB_END, str(now + 1000))
    monkeypatch.setenv(JOB_START, str(now - 900))
    assert not is_too_late_for(1e9)


def test_a_task_that_says_nothing_of_its_time_is_begun_everywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(JOB_END, str(time.time() + 1))
    (tmp_path / "go on").touch()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        flight = Flight(client, partial(evaluations.waiting, tmp_path / "go on"), (None, Limits()))
        flight.submit([Task(Evolution(SPACE).ask())])
        assert len(_until(flight, 1)) == 1


@pytest.mark.parametrize("moment", ["closing", "evaluating"])
def test_a_worker_without_a_nanny_ends_at_a_signal_whatever_it_does(moment: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    options = ["--no-nanny", "--no-dashboard", "--preload", "menndl_dask.retirement", "--preload", "tests.lingering"]
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CLOSING": str(tmp_path / "closing")},
            stderr=subprocess.PIPE,
            text=True,
        ) as worker,
    ):
        try:
            client.wait_for_workers(1, timeout=60)
            if moment == "closing":
                begun = tmp_path / "closing"
                client.retire_workers(close_workers=True)
            else:
                evaluation = client.submit(_touch_and_sleep, begun, pure=False)
            until(begun.is_file, worker)
            worker.send_signal(signal.SIGTERM)
            # Slurm kills after thirty seconds; in vain it would have waited for ever, or for the evaluation
            assert worker.wait(timeout=25) == 0
            if moment == "evaluating":
                evaluation.cancel()
        finally:
            worker.kill()


def _touch_and_sleep(begun: Path) -> None:
    begun.touch()
    time.sleep(600)
