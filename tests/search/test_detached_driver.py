"""Drivers in the queue, through a pretended batch system: what is submitted, and when the chain ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from menndl_dask.cli import cli
from menndl_dask.errors import ProfileError, RunError
from menndl_dask.run import stop_request
from menndl_dask.search.detached_driver import Detached, Drivers, detach, driver_script, main
from tests.queues import Queue
from tests.sites import site
from tests.slurm import until


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    queue = Queue("pbs", tmp_path)
    monkeypatch.setenv("PATH", f"{queue.path}{os.pathsep}{os.environ['PATH']}")
    for name in ("SLURM_JOB_ID", "PBS_JOBID"):
        monkeypatch.delenv(name, raising=False)
    yield queue
    queue.end()


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "pbs.yaml"
    jobqueue = {"cores": 8, "memory": "8GB", "walltime": "01:00:00", "interface": "lo"}
    path.write_text(yaml.safe_dump({"kind": "pbs", "shared_directory": str(tmp_path), "jobqueue": jobqueue}))
    return str(path)


def test_a_driver_gets_one_node_without_gpus_and_what_the_profile_says_of_it(tmp_path: Path) -> None:
    where = site("slurm", tmp_path, nodes_per_job=4, gpus_per_node=4, gpu_vendor="nvidia",
                 driver={"cores": 2, "memory": "4GB", "walltime": "12:00:00", "queue": "long"})  # fmt: skip
    lines = driver_script(where, tmp_path / "run").splitlines()
    assert {"#SBATCH --nodes=1", "#SBATCH --cpus-per-task=2", "#SBATCH -p long", "#SBATCH -t 12:00:00"} <= set(lines)
    assert "#SBATCH -J menndl-run" in lines
    assert not any("gpus" in line for line in lines)
    assert lines[-1].endswith(f"-m menndl_dask.search.detached_driver {tmp_path / 'run'}")


def test_in_an_allocation_the_driver_gets_all_nodes(tmp_path: Path) -> None:
    where = site("allocation", tmp_path, batch="slurm", nodes_per_job=4, gpus_per_node=4, gpu_vendor="nvidia")
    lines = driver_script(where, tmp_path / "run").splitlines()
    assert {"#SBATCH --nodes=4", "#SBATCH --ntasks-per-node=4", "#SBATCH --gpus-per-node=4"} <= set(lines)
    assert "srun" not in lines[-1]


def test_a_detached_driver_runs_and_its_successor_is_cancelled(queue: Queue, profile: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    number = detach(tmp_path / "run", profile, ["touch", str(ran)])
    until(lambda: ran.exists() and not queue.alive(), message=queue.printed)
    first, second = Drivers.read(tmp_path / "run").jobs
    assert first == number
    submitted = [line for line in queue.log if line.startswith("qsub")]
    assert f"-W depend=afterany:{number}" in submitted[1]
    assert f"qdel {second}" in queue.log


def test_a_run_has_one_chain_of_drivers(queue: Queue, profile: str, tmp_path: Path) -> None:
    number = detach(tmp_path / "run", profile, ["sleep", "60"])
    with pytest.raises(RunError, match=f"has a driver in the queue already: job {number}"):
        detach(tmp_path / "run", profile, ["sleep", "60"])


def test_drivers_that_bring_nothing_home_are_not_followed(queue: Queue, profile: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    Detached(profile, ("false",), str(tmp_path)).write(run)
    Drivers.add(run, "began", 0)
    Drivers.add(run, "began", 0)
    assert main([str(run)]) == 1
    assert "qsub" not in queue.commands()


def test_a_driver_that_was_asked_to_stop_while_it_waited_does_nothing(
    queue: Queue, profile: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    Detached(profile, ("touch", str(tmp_path / "ran")), str(tmp_path)).write(run)
    stop_request.ask(run, "a test")
    assert main([str(run)]) == 0
    assert not (tmp_path / "ran").exists()
    assert queue.commands() == []


def test_a_refused_driver_is_told_in_the_batch_systems_own_words(queue: Queue, profile: str, tmp_path: Path) -> None:
    queue.refuse()
    with pytest.raises(ProfileError, match="refused the driver's job: qsub: Unknown queue"):
        detach(tmp_path / "run", profile, ["true"])


def test_a_run_whose_driver_was_refused_is_as_it_was(queue: Queue, profile: str, tmp_path: Path) -> None:
    queue.refuse()
    run = tmp_path / "run"
    with pytest.raises(ProfileError):
        detach(run, profile, ["true"])
    assert Detached.read(run) is None
    earlier = Detached(profile, ("earlier",), str(tmp_path))
    earlier.write(run)
    with pytest.raises(ProfileError):
        detach(run, profile, ["true"])
    assert Detached.read(run) == earlier


@pytest.mark.parametrize(
    ("text", "told"),
    [("kind: local", "expected the profile of a batch system, got one of kind local"),
     ("kind: htcondor\njobqueue: {cores: 1, memory: 1GB}", "whose jobs can wait for each other, got htcondor")],
)  # fmt: skip
def test_only_some_profiles_can_hold_drivers(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=told):
        detach(tmp_path / "run", str(path), ["true"])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert Detached.read(tmp_path) is None
    detached = Detached("mine.yaml", ("menndl", "search"), "/home/me")
    detached.write(tmp_path)
    assert Detached.read(tmp_path) == detached
    assert Drivers.read(tmp_path) == Drivers()
    for what, number in (("job", 7), ("began", 0), ("job", 8), ("job", 7), ("began", 5)):
        Drivers.add(tmp_path, what, number)
    assert Drivers.read(tmp_path) == Drivers(("7", "8"), (0, 5))


def test_a_job_does_not_run_a_record_that_was_changed_after_it_was_submitted(
    queue: Queue, profile: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    digest = Detached(profile, ("true",), str(tmp_path)).digest
    assert driver_script(site("slurm", tmp_path), run, digest).rstrip().endswith(f" {run} {digest}")
    Detached(profile, ("touch", str(tmp_path / "ran")), str(tmp_path)).signed().write(run)
    assert main([str(run), digest]) == 2
    assert not (tmp_path / "ran").exists()


def test_jobs_that_this_user_has_not_signed_are_not_cancelled(
    queue: Queue, profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    number = detach(run, profile, ["sleep", "60"])
    record = Detached.read(run)
    assert record is not None and record.is_own
    replace(record, signature="0" * 64).write(run)
    assert cli.main(["stop", str(run)]) == 2
    assert f"if they are yours: qdel {number}" in capsys.readouterr().err
    assert not any(line.startswith("qdel") for line in queue.log)


def test_a_number_of_a_job_is_no_option_of_the_batch_system(tmp_path: Path) -> None:
    Drivers.add(tmp_path, "job", "--user=me")
    with pytest.raises(RunError, match=r"drivers\.txt: expected the numbers of jobs, got '--user=me'"):
        Drivers.read(tmp_path)
