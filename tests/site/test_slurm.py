"""Whether the Slurm that the other tests here rely on is one."""

from __future__ import annotations

import pytest

from tests.slurm import NODES, Slurm, run

pytestmark = pytest.mark.slurm


def test_a_step_on_several_nodes_runs_a_task_on_each(slurm: Slurm) -> None:
    nodes = run("srun", f"--nodes={len(NODES)}", "--ntasks-per-node=1", "printenv", "SLURMD_NODENAME").split()
    assert sorted(nodes) == sorted(NODES)


def test_slurm_gives_each_task_its_own_gpu_in_the_variables_of_all_vendors(slurm: Slurm) -> None:
    told = run(
        "srun", "--nodes=1", "--ntasks-per-node=2", "--gpus-per-task=1",
        "bash", "-c", "echo $CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES",
    )  # fmt: skip
    assert sorted(told.splitlines()) == ["0 0", "1 1"]
