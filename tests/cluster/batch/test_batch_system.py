"""Tests of `menndl_dask.cluster.batch.batch_system`: job headers line by line, queues and time limits."""

from __future__ import annotations

import pytest

from menndl_dask.cluster.batch.batch_system import SYSTEMS, resized_header, walltime_s
from menndl_dask.cluster.batch.launcher import JobLayout
from menndl_dask.errors import ProfileError

LAYOUT = JobLayout(nodes=3, tasks_per_node=4, cores_per_node=64, gpus_per_node=4)
SLURM = "#SBATCH -J menndl\n#SBATCH -n 1\n#SBATCH --cpus-per-task=64\n#SBATCH --mem=240G\n#SBATCH -C gpu"


def test_a_slurm_job_has_nodes_tasks_and_gpus_and_keeps_its_memory_of_a_node() -> None:
    assert resized_header("slurm", SLURM, LAYOUT, extra=["-C gpu"]).splitlines() == [
        "#SBATCH -J menndl",
        "#SBATCH --mem=240G",
        "#SBATCH --nodes=3",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=16",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH -C gpu",
    ]


def test_what_a_profile_skips_is_skipped_among_the_rewritten_lines_too() -> None:
    lines = resized_header("slurm", SLURM, LAYOUT, skip=["--gpus-per-node", "--mem"], extra=["-C gpu"]).splitlines()
    assert not any("gpus" in line or "mem" in line for line in lines)


def test_what_a_profile_adds_is_not_rewritten() -> None:
    header = "#PBS -N menndl\n#PBS -l select=1:ncpus=8:mem=30GB\n#PBS -l select=1:system=special"
    assert resized_header("pbs", header, LAYOUT, extra=["-l select=1:system=special"]).splitlines() == [
        "#PBS -N menndl",
        "#PBS -l select=3:ncpus=8:mem=30GB:ngpus=4",
        "#PBS -l select=1:system=special",
    ]


def test_a_resource_of_the_site_gets_the_number_of_nodes_only() -> None:
    assert resized_header("pbs", "#PBS -l select=1:system=polaris", LAYOUT) == "#PBS -l select=3:system=polaris"
    assert resized_header("moab", "#PBS -l nodes=1:ppn=8", LAYOUT) == "#PBS -l nodes=3:ppn=8"


def test_lsf_spreads_cores_over_nodes_or_asks_for_whole_ones() -> None:
    header = '#BSUB -J menndl\n#BSUB -n 64\n#BSUB -R "span[hosts=1]"\n#BSUB -M 240000'
    assert resized_header("lsf", header, LAYOUT).splitlines() == [
        "#BSUB -J menndl",
        "#BSUB -n 192",
        '#BSUB -R "span[ptile=64]"',
        "#BSUB -M 240000",
        '#BSUB -gpu "num=4"',
    ]
    whole = JobLayout(nodes=3, tasks_per_node=6, cores_per_node=42, gpus_per_node=6, whole_nodes=True)
    assert resized_header("lsf", header, whole).splitlines() == ["#BSUB -J menndl", "#BSUB -nnodes 3"]


@pytest.mark.parametrize("kind", [kind for kind, system in SYSTEMS.items() if not system.many_nodes])
def test_a_system_without_jobs_of_many_nodes_says_which_have_them(kind: str) -> None:
    with pytest.raises(ProfileError, match=f"expected 1 for kind {kind}, got 3; several nodes: slurm, pbs"):
        resized_header(kind, "", LAYOUT)


@pytest.mark.parametrize(
    ("kind", "printed", "numbers"),
    [
        ("slurm", "12\n13\n", {"12", "13"}),
        ("pbs", "12.polaris-pbs-01\n", {"12"}),
        ("lsf", "12\n", {"12"}),
        ("sge", "job-ID  prior\n----------\n  12 0.5 menndl\n", {"12"}),
        ("htcondor", "12.0\n12.1\n", {"12.0", "12.1"}),
        ("oar", "Job id  Name\n-----\n12 menndl\n", {"12"}),
    ],
)
def test_the_numbers_of_queued_jobs_are_read(kind: str, printed: str, numbers: set[str]) -> None:
    assert SYSTEMS[kind].numbers(printed) == numbers


@pytest.mark.parametrize(
    ("kind", "text", "seconds"),
    [("slurm", "02:00:00", 7200), ("slurm", "90:30", 5430), ("slurm", "1-00", 86400), ("lsf", "2:00", 7200),
     ("lsf", "90", 5400), ("pbs", "02:00:00", 7200), ("pbs", "600", 600), ("oar", "2:00", 7200)],
)  # fmt: skip
def test_a_time_limit_is_read_as_its_batch_system_does(kind: str, text: str, seconds: float) -> None:
    assert walltime_s(kind, text) == seconds


@pytest.mark.parametrize(("kind", "text"), [("slurm", "two hours"), ("lsf", "02:00:00"), ("pbs", "")])
def test_a_time_limit_that_cannot_be_read_is_one_line(kind: str, text: str) -> None:
    with pytest.raises(ProfileError, match="walltime: expected hours:minutes"):
        walltime_s(kind, text)
