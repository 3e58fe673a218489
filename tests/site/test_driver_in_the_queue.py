"""The driver as a batch job of a real Slurm: in one allocation with its workers, and detached, killed and followed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from menndl_dask.cli.status import status
from menndl_dask.run.run import Run
from menndl_dask.search.detached_driver import Drivers, detach
from tests import stores
from tests.site.evaluating import done
from tests.slurm import Slurm, run, until

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parents[2]
MENNDL = [sys.executable, "-m", "menndl_dask.cli"]


def profile(folder: Path, kind: str = "slurm", jobqueue: dict[str, Any] | None = None, **keys: Any) -> str:
    """Write a profile for the test Slurm and return its path."""
    keywords = {"cores": 2, "memory": "2GB", "interface": "lo", "nanny": False, **(jobqueue or {})}
    values = {"kind": kind, "shared_directory": str(folder / "shared"), "dashboard_port": None, "jobqueue": keywords}
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump({**values, **keys}))
    return str(path)


def driving(where: str, folder: Path, evaluations: int) -> list[str]:
    """Return the command of a driver."""
    return [sys.executable, "-m", "tests.site.driving", where, str(folder / "run"), str(evaluations)]


def menndl(folder: Path, *words: str) -> str:
    """Run a command in a folder, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    ended = subprocess.run(
        [*MENNDL, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def printed(folder: Path) -> str:
    """Return what the jobs have printed."""
    return "\n".join(file.read_text()[-3000:] for file in sorted((folder / "shared" / "jobs").glob("*")))


def told(folder: Path) -> int:
    """Return how many results are in the journal."""
    return (folder / "run" / "journal.jsonl").read_text().count('{"event":"told"') if (folder / "run").exists() else 0


def test_driver_and_workers_share_the_allocation_of_a_job(slurm: Slurm, tmp_path: Path) -> None:
    where = profile(tmp_path, "allocation", batch="slurm", gpus_per_node=1, gpu_vendor="nvidia")
    command = " ".join(driving(where, tmp_path, 30))
    output = f"--output={tmp_path}/driver.out"
    sizes = ("--nodes=3", "--ntasks-per-node=1", "--cpus-per-task=2", "--gpus-per-node=1")
    job = run("sbatch", "--parsable", *sizes, f"--chdir={HERE}", output, "--wrap", command)
    until(
        lambda: slurm.states().get(job.strip()) not in ("PENDING", "RUNNING", "COMPLETING"),
        message=lambda: printed(tmp_path),
    )
    assert slurm.states()[job.strip()] == "COMPLETED", (tmp_path / "driver.out").read_text()
    found = Run(tmp_path / "run")
    assert len(list(found.evaluations)) == 30
    assert {result.worker for _, result in found.evaluations} <= {f"n{number}:0:" for number in range(1, 5)}
    assert len({result.worker for _, result in found.evaluations}) == 3
    until(slurm.is_empty)


def test_a_driver_that_the_time_limit_kills_is_followed_by_another_until_it_is_stopped(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nobody is told of this time limit: driver and workers are killed in the midst of their work
    where = profile(tmp_path, jobqueue={"job_extra_directives": ["--time=00:01:00"]})
    monkeypatch.chdir(HERE)
    first = detach(tmp_path / "run", where, driving(where, tmp_path, 10_000))
    assert f"in the queue: job {first}" in status(tmp_path / "run")
    until(lambda: slurm.states()[first] == "TIMEOUT", 300, lambda: printed(tmp_path))
    before = told(tmp_path)
    assert before > 0
    until(lambda: told(tmp_path) >= before + 10, message=lambda: printed(tmp_path))
    assert "running (host" in status(tmp_path / "run")
    assert "asked its driver" in menndl(tmp_path, "stop", "run")
    until(slurm.is_empty, message=lambda: printed(tmp_path))
    states = [slurm.states()[job] for job in Drivers.read(tmp_path / "run").jobs]
    assert (states[0], states[-1]) == ("TIMEOUT", "CANCELLED")
    found = Run(tmp_path / "run")
    numbers = [individual.id for individual, _ in found.evaluations]
    assert sorted(numbers) == list(range(len(numbers)))
    assert any("asked to stop" in note["message"] for note in found.notes)
    # what was told before is not evaluated again: at most what was in flight when both were killed
    assert len(done(tmp_path / "run")) - len(numbers) <= 2
    assert list((tmp_path / "shared").glob("credentials*")) == []
    assert "none in the queue" in status(tmp_path / "run")


def test_the_main_job_trains_real_networks_as_a_batch_job(slurm: Slurm, tmp_path: Path) -> None:
    stores.write(stores.classification(seed=5), tmp_path / "data.zarr")  # which no other test has
    profile(tmp_path, workers_per_node=2, jobqueue={"walltime": "00:10:00"})
    options = ["--epochs", "1", "--max-parameters", "5e3", "--max-layers", "4", "--evaluations", "3", "--retrain", "0"]
    said = menndl(tmp_path, "search", "data.zarr", "--run", "run", "--cluster", "slurm.yaml", *options, "--detach")
    assert "searches on; progress: menndl status run" in said
    until(slurm.is_empty, 200, lambda: printed(tmp_path))
    found = Run(tmp_path / "run")
    assert len(list(found.evaluations)) == 3
    assert (tmp_path / "run" / "best.keras").exists()
    assert "3 evaluations of 3" in menndl(tmp_path, "status", "run")
    assert [slurm.states()[job] for job in Drivers.read(tmp_path / "run").jobs] == ["COMPLETED", "CANCELLED"]
    # Slurm asks all processes to end before it kills them: nothing stays on the node's disk
    assert found.problem is not None and found.problem.facts.fingerprint
    staged = Path(tempfile.gettempdir()) / f"menndl-{os.getuid()}" / found.problem.facts.fingerprint
    until(lambda: not staged.exists(), 30)


def test_a_check_says_what_the_workers_of_a_job_find(slurm: Slurm, tmp_path: Path) -> None:
    profile(tmp_path, jobqueue={"walltime": "00:10:00", "local_directory": str(tmp_path)})
    said = menndl(tmp_path, "cluster", "check", "slurm.yaml", "--try")
    assert "#SBATCH --nodes=1" in said
    assert "1 of 1 workers on 1 node, the first after" in said
    assert "Keras on tensorflow computes on" in said
    assert said.endswith("All is well.\n")
    until(slurm.is_empty)
