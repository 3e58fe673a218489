"""The shipped cluster profiles: each is small, says where it is from, and gives a job script."""

from __future__ import annotations

import re
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.batch.site_cluster import job_script, prepare, site_cluster, unfilled_keys
from menndl_dask.cluster.profile import read_profile, shipped_profiles
from menndl_dask.errors import ProfileError
from tests.sites import site

FOLDER = Path(__file__).parents[2] / "clusters"
BATCH = [name for name in shipped_profiles() if isinstance(read_profile(name), Site)]
NAMED = ("andes", "aurora", "frontier", "perlmutter", "polaris", "summit")
SCREEN = 30  # lines

# what a job's workers are started with: the launcher, the tasks on a node, the GPUs of a task
LAUNCHED = {
    "andes": ("srun --nodes=4 --ntasks=32 --ntasks-per-node=8 --cpus-per-task=4 ", "--walltime 14400 --retire 600 "),
    "aurora": ("mpiexec -n 48 --ppn 12 --cpu-bind list:1-8:", "--gpus 12 --vendor intel"),
    "frontier": ("srun --nodes=16 --ntasks=128 --ntasks-per-node=8 --cpus-per-task=7 ", "--gpus 8 --vendor amd"),
    "perlmutter": ("srun --nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=32 ", "--gpus 4 --vendor nvidia"),
    "polaris": ("mpiexec -n 40 --ppn 4 --depth 8 --cpu-bind depth ", "--gpus 4 --vendor nvidia"),
    "summit": (
        "jsrun --nrs 192 --rs_per_host 6 --tasks_per_rs 1 --cpu_per_rs 7 --gpu_per_rs 1 --smpiargs=off ",
        "--gpus 6 --vendor nvidia",
    ),
}
HEADERS = {
    "andes": ["#SBATCH --nodes=4", "#SBATCH --ntasks-per-node=8", "#SBATCH --mem=224G"],
    "aurora": ["#PBS -l select=4", "#PBS -l place=scatter", "#PBS -l filesystems=home:flare"],
    "frontier": ["#SBATCH --nodes=16", "#SBATCH --ntasks-per-node=8", "#SBATCH -C nvme"],
    "perlmutter": ["#SBATCH --nodes=2", "#SBATCH --gpus-per-node=4", "#SBATCH -C gpu", "#SBATCH -q regular"],
    "polaris": ["#PBS -l select=10:system=polaris", "#PBS -l place=scatter", "#PBS -l filesystems=home:eagle"],
    "summit": ["#BSUB -nnodes 32", "#BSUB -W 02:00", "#BSUB -alloc_flags nvme"],
}


def rendered(name: str, directory: Path) -> list[str]:
    """Return the lines of a shipped profile's job script."""
    profile = read_profile(name)
    assert isinstance(profile, Site)
    return job_script(replace(profile, shared_directory=str(directory))).splitlines()


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_profile_fits_on_a_screen(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("name", NAMED)
def test_a_real_site_says_where_its_facts_come_from_and_that_nobody_has_run_it(name: str) -> None:
    text = " ".join((FOLDER / f"{name}.yaml").read_text().replace("\n#", "").split())
    assert "From https://docs." in text
    assert "never run there by this project" in text


@pytest.mark.parametrize("name", BATCH)
def test_a_profile_gives_a_job_script_and_wants_to_be_filled_in(name: str, tmp_path: Path) -> None:
    assert any("menndl_dask.cluster.node.worker_start" in line for line in rendered(name, tmp_path))
    profile = read_profile(name)
    assert isinstance(profile, Site)
    with pytest.raises(ProfileError, match="copy the profile and fill it in: expected yours in place of <"):
        prepare(profile)


@pytest.mark.parametrize("name", NAMED)
def test_a_real_site_gets_its_launcher_and_its_directives(name: str, tmp_path: Path) -> None:
    lines = rendered(name, tmp_path)
    start, options = LAUNCHED[name]
    assert any(line.startswith(start) and options in line for line in lines), lines
    assert set(HEADERS[name]) <= set(lines), lines


def test_sites_of_whole_nodes_are_not_asked_for_memory(tmp_path: Path) -> None:
    for name in ("frontier", "perlmutter", "summit"):
        assert not any("--mem=" in line or line.startswith("#BSUB -M") for line in rendered(name, tmp_path))


MISTAKES = [
    ({"nodes_per_jobs": 2}, "unknown key 'nodes_per_jobs' for kind slurm; .*did you mean 'nodes_per_job'"),
    ({"gpus_per_node": "four"}, "gpus_per_node: expected an integer from 0 to 1000, got 'four'"),
    ({"gpus_per_node": 4}, "expected gpus_per_node and gpu_vendor together, got 4 and None"),
    ({"gpu_vendor": "nvida"}, "gpu_vendor: expected one of nvidia, amd, intel, got 'nvida'"),
    ({"workers": "per_node"}, "workers: expected nothing for nodes without GPUs, got 'per_node'"),
    ({"launcher": "prun"}, "launcher: expected one of srun, jsrun, mpiexec, mpirun"),
    ({"jobs": [4, 1]}, r"jobs: expected an integer from 1 to 100000, or the least and the largest number"),
    ({"jobs": True}, "jobs: expected an integer from 1 to 100000"),
    ({"ports": 8786}, "ports: expected two ports"),
    ({"retire_s": 7200}, "retire_s: expected less than the walltime of 3600 s, got 7200"),
    ({"tls": "yes"}, "tls: expected true or false, got 'yes'"),
    ({"batch": "slurm"}, "batch: expected none but for kind allocation, got 'slurm'"),
    ({"jobqueue": {"walltime": 7200}}, "jobqueue: walltime: expected hours:minutes:seconds in quotes.*, got 7200"),
    ({"jobqueue": {"walltime": "soon"}}, "jobqueue: walltime: expected hours:minutes:seconds"),
    ({"jobqueue": {"processes": 4}}, "jobqueue: processes: not to be given here: gpus_per_node or workers_per_node"),
    ({"jobqueue": {"cores": "many"}}, "jobqueue: cores: expected an integer ≥ 1, got 'many'"),
    ({"jobqueue": {"memory": None}}, "jobqueue: memory: expected that of a node, got none"),
    ({"jobqueue": {"memory": None, "memroy": "8GB"}}, "memory: expected that of a node, got none, but 'memroy'"),
    ({"account": "abc123"}, "unknown key 'account' for kind slurm; .*; it belongs under jobqueue"),
    ({"jobqueue": {"memory": "four"}}, "jobqueue: memory: expected a text such as 64GB, got 'four'"),
    (
        {"jobqueue": {"job_extra_directives": "-C gpu"}},
        "job_extra_directives: expected a list of texts of one line each, got '-C gpu'",
    ),
    ({"jobqueue": {"job_script_prologue": "module load x"}}, "job_script_prologue: expected a list of texts"),
]


@pytest.mark.parametrize(("keys", "told"), MISTAKES)
def test_a_mistake_in_a_site_names_file_and_key(keys: dict[str, object], told: str) -> None:
    with pytest.raises(ProfileError, match=r"test\.yaml: .*" + told):
        site("slurm", **keys)


def test_a_shared_directory_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = r"shared_directory: expected a folder that can be written to, got .*file/x"
    with pytest.raises(ProfileError, match=told), site_cluster(site("slurm", tmp_path / "file" / "x")):
        pass


def test_a_shared_directory_without_room_is_one_line(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # as on a full disk, files can be made and not filled
    try:
        with pytest.raises(ProfileError, match=r"shared_directory: expected a folder .*: File too large"):
            prepare(site("slurm", tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    prepare(site("slurm", tmp_path))


def test_who_looks_at_a_job_script_leaves_no_traces(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    assert f"#SBATCH -o {shared}/jobs/menndl-%J.out" in job_script(site("slurm", shared)).splitlines()
    assert not shared.exists()


@pytest.mark.parametrize("name", ["andes", "frontier", "summit"])
def test_where_homes_cannot_be_written_to_in_a_job_the_shared_directory_is_elsewhere(name: str) -> None:
    profile = read_profile(name)
    assert isinstance(profile, Site)
    assert re.match(r"/(lustre/orion|gpfs/alpine2)/<project>/scratch/\$USER/menndl$", profile.shared_directory)
    assert ("shared_directory", "<project>") in unfilled_keys(profile)


def test_an_interface_that_this_machine_does_not_have_is_one_line(tmp_path: Path) -> None:
    told = r"jobqueue: the scheduler does not start .*'ib7' is not a valid network interface.*; where only the nodes"
    with pytest.raises(ProfileError, match=told), site_cluster(site("slurm", tmp_path, jobqueue={"interface": "ib7"})):
        pass
    assert list(tmp_path.glob("credentials*")) == []


def test_an_allocation_names_its_batch_system() -> None:
    with pytest.raises(ProfileError, match="batch: expected the batch system of the allocation, got none"):
        site("allocation")
    assert site("allocation", batch="pbs", launcher="mpiexec").system == "pbs"


def test_many_nodes_need_a_launcher_where_the_batch_system_brings_none() -> None:
    with pytest.raises(ProfileError, match=r"launcher: expected one of .* for jobs of several nodes, got none"):
        site("pbs", nodes_per_job=2)
    with pytest.raises(ProfileError, match="nodes_per_job: expected 1 for kind sge, got 2"):
        site("sge", nodes_per_job=2)


def test_workers_fill_whole_jobs() -> None:
    where = site("slurm", nodes_per_job=2, gpus_per_node=4, gpu_vendor="nvidia")
    assert [where.jobs_for(workers) for workers in (1, 8, 9)] == [1, 1, 2]
