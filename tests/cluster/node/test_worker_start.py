"""Tests of `menndl_dask.cluster.node.worker_start`: which GPU a task sees, under each launcher and for each vendor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from menndl_dask.cluster.node.worker_start import _parser, task_environment
from menndl_dask.environment import DEVICES, GPU_SHARE, JOB_END, JOB_START, RETIRE_AT
from menndl_dask.errors import ProfileError

ALL = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "ROCR_VISIBLE_DEVICES": "0,1,2,3", "ZE_AFFINITY_MASK": "0,1,2,3"}
LAUNCHERS = {
    "srun": ("SLURM_PROCID", "SLURM_LOCALID"),
    "jsrun": ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK"),
    "mpiexec of PALS": ("PALS_RANKID", "PALS_LOCAL_RANKID"),
    "mpirun of Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "mpiexec of MPICH": ("PMI_RANK", "MPI_LOCALRANKID"),
}


def changes(environment: dict[str, str], *options: str) -> dict[str, str | None]:
    return task_environment(environment, _parser().parse_args(["--name", "menndl-1", *options]))


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("vendor", "variable"),
    [("nvidia", "CUDA_VISIBLE_DEVICES"), ("amd", "ROCR_VISIBLE_DEVICES"), ("intel", "ZE_AFFINITY_MASK")],
)
def test_each_task_sees_its_own_gpu_in_one_variable(launcher: str, vendor: str, variable: str) -> None:
    rank, local = LAUNCHERS[launcher]
    seen = []
    for number in range(4):
        changed = changes({**ALL, rank: str(4 + number), local: str(number)}, "--gpus", "4", "--vendor", vendor)
        seen.append(changed[variable])
        assert all(changed[other] is None for other in ALL if other != variable)
    assert seen == ["0", "1", "2", "3"]


def test_a_gpu_that_the_launcher_has_chosen_is_kept() -> None:
    changed = changes({"ROCR_VISIBLE_DEVICES": "6", "SLURM_LOCALID": "2"}, "--gpus", "8", "--vendor", "amd")
    assert changed["ROCR_VISIBLE_DEVICES"] == "6"


def test_without_a_list_from_the_launcher_the_gpus_of_the_profile_count() -> None:
    changed = changes({"PALS_LOCAL_RANKID": "3"}, "--gpus", "4", "--vendor", "nvidia")
    assert changed["CUDA_VISIBLE_DEVICES"] == "3"


def test_several_trainers_share_a_gpu() -> None:
    options = ("--gpus", "2", "--vendor", "nvidia", "--tasks-per-gpu", "2")
    seen = [changes({"SLURM_LOCALID": str(number)}, *options)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert seen == ["0", "0", "1", "1"]


def test_trainers_that_share_a_gpu_are_told_their_share() -> None:
    options = ("--gpus", "2", "--vendor", "nvidia")
    assert GPU_SHARE not in changes({}, *options)
    assert changes({}, *options, "--tasks-per-gpu", "2")[GPU_SHARE] == "0.5"


def test_the_only_worker_of_a_node_sees_all_gpus_and_hands_them_out() -> None:
    changed = changes({"CUDA_VISIBLE_DEVICES": "0,1"}, "--gpus", "2", "--vendor", "nvidia", "--per-node")
    assert changed["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert changed[DEVICES] == "nvidia:0,1"
    options = ("--gpus", "2", "--vendor", "nvidia", "--per-node", "--tasks-per-gpu", "2")
    assert changes({}, *options)[DEVICES] == "nvidia:0,1,0,1"


def test_a_task_without_a_gpu_is_told_in_words() -> None:
    with pytest.raises(ProfileError, match=r"task 2 of this node: expected a GPU for it, got only 2 visible: 0, 1"):
        changes({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_LOCALID": "2"}, "--gpus", "4", "--vendor", "nvidia")


def test_a_worker_retires_before_its_job_ends() -> None:
    changed = changes({JOB_START: "1000"}, "--walltime", "3600", "--retire", "600")
    assert changed[RETIRE_AT] == "4000.0"
    assert (changed[JOB_START], changed[JOB_END]) == ("1000.0", "4600.0")


def test_images_are_staged_where_the_worker_writes() -> None:
    assert changes({}, "--local-directory", "/mnt/bb/me")["TMPDIR"] == "/mnt/bb/me"


def test_numerics_have_the_cores_of_the_task_unless_the_site_says_otherwise() -> None:
    assert changes({}, "--cores", "7")["OMP_NUM_THREADS"] == "7"
    assert changes({"OMP_NUM_THREADS": "3"}, "--cores", "7")["OMP_NUM_THREADS"] == "3"


def test_without_a_launcher_the_tasks_of_a_node_start_each_other() -> None:
    start = "menndl_dask.cluster.node.worker_start"
    command = [sys.executable, "-m", start, "--name", "menndl-1", "--tasks", "3", "--gpus", "2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    # one GPU too few; the other two become workers, which print their help
    ended = subprocess.run(
        [*command, "--vendor", "nvidia", "--help"],
        env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert "task 0 of menndl-1, GPUs 0" in ended.stderr
    assert "task 1 of menndl-1, GPUs 1" in ended.stderr
    assert "task 2 of this node: expected a GPU for it" in ended.stderr
    assert ended.stdout.count("Usage: dask worker") == 2
    assert ended.returncode == 2


def test_a_local_directory_that_cannot_be_written_to_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    command = [sys.executable, "-m", "menndl_dask.cluster.node.worker_start", "--name", "menndl-1"]
    command += ["--local-directory", f"{tmp_path}/disk/me"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    told = f"error: local_directory: expected a folder that can be written to, got {tmp_path}/disk/me: Not a directory"
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 2
