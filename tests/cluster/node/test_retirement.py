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

from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.node.retirement import is_too_late_for
from menndl_dask.environment import JOB_END, JOB_START
from menndl_dask.errors import RunError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.individual import Evaluation
from menndl_dask.problem import Limits
from menndl_dask.search.dispatcher import Dispatcher
from menndl_dask.search.remote_evaluation import EvaluationRequest
from tests import evaluations
from tests.evaluations import SPACE
from tests.processes import until

ROOT = Path(__file__).parents[3]


def _until(dispatcher: Dispatcher, count: int) -> list[Evaluation]:
    """Wait until so many results are home."""
    home: list[Evaluation] = []
    deadline = time.monotonic() + 150
    while len(home) < count and time.monotonic() < deadline:
        home += dispatcher.completed(0.2)
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
        dispatcher = Dispatcher(client, evaluations.instant, (None, Limits()))
        short, long = evolution.ask(), evolution.ask()
        dispatcher.submit(EvaluationRequest(short, expected_s=50))
        assert [individual for individual, _ in _until(dispatcher, 1)] == [short]
        dispatcher.submit(EvaluationRequest(long, expected_s=200))
        while client.scheduler_info(n_workers=-1)["workers"]:  # it retires, since nothing better will come
            assert dispatcher.completed(0.2) == []
        assert dispatcher.notes == ["1 evaluation declined by workers whose batch job ends too soon; submitted again"]
        assert dispatcher.individuals == [long]
        monkeypatch.setenv(JOB_END, str(now + 7200))
        cluster.scale(2)
        assert [(individual, result.failure) for individual, result in _until(dispatcher, 1)] == [(long, None)]
        assert len(dispatcher.notes) == 1  # it did not go back and forth
        assert not dispatcher


def test_a_worker_whose_node_cannot_hold_samples_retires_and_what_it_had_is_submitted_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()  # nobody can make a folder in it
    with (
        dask.config.set(DASK_SETTINGS),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        dispatcher = Dispatcher(client, partial(evaluations.staging, disk), (None, Limits()))
        individual = Evolution(SPACE).ask()
        dispatcher.submit(EvaluationRequest(individual))
        while client.scheduler_info(n_workers=-1)["workers"]:
            assert dispatcher.completed(0.2) == []
        (note,) = dispatcher.notes
        told = rf"{socket.gethostname()}: {disk}/.*: cannot be written to: Not a directory"
        assert re.fullmatch(f"{told}; the worker retires, 1 evaluation submitted again", note)
        with pytest.raises(RunError, match=f"no worker is left, and none will come: {told}"):
            dispatcher.worker_threads()
        disk.unlink()
        cluster.scale(2)
        assert [(one, result.failure) for one, result in _until(dispatcher, 1)] == [(individual, None)]
        assert not dispatcher


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
        dispatcher = Dispatcher(client, partial(evaluations.waiting, tmp_path / "go on"), (None, Limits()))
        dispatcher.submit(EvaluationRequest(Evolution(SPACE).ask()))
        assert len(_until(dispatcher, 1)) == 1


@pytest.mark.parametrize("moment", ["closing", "evaluating"])
def test_a_worker_without_a_nanny_ends_at_a_signal_whatever_it_does(moment: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    preloaded = ("--preload", "menndl_dask.cluster.node.retirement", "--preload", "tests.lingering")
    options = ["--no-nanny", "--no-dashboard", *preloaded]
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
            client.wait_for_workers(1, timeout=150)
            if moment == "closing":
                begun = tmp_path / "closing"
                client.retire_workers(close_workers=True)
            else:
                evaluation = client.submit(_touch_and_sleep, begun, pure=False)
            until(begun.is_file, worker)
            for _ in range(2):  # from the batch system, and passed on by the process that keeps the task running
                worker.send_signal(signal.SIGTERM)
                time.sleep(0.2)
            # Slurm kills after thirty seconds; in vain it would have waited for ever, or for the evaluation
            assert worker.wait(timeout=150) == 0
            if moment == "evaluating":
                evaluation.cancel()
        finally:
            worker.kill()


def _touch_and_sleep(begun: Path) -> None:
    begun.touch()
    time.sleep(600)
