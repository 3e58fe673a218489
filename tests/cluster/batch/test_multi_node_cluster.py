"""Tests of `menndl_dask.cluster.batch.multi_node_cluster`: job scripts line by line, and pretended batch systems."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import dask
import pytest
import yaml
from distributed import Client

import menndl_dask
from menndl_dask.cluster.batch import multi_node_cluster
from menndl_dask.cluster.batch.site_cluster import job_script, remarks, site_cluster
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.profile import read_profile
from menndl_dask.errors import ProfileError
from tests.queues import Queue
from tests.sites import site
from tests.slurm import until

GPUS = {"gpus_per_node": 4, "gpu_vendor": "nvidia"}
WORKER = "python -m menndl_dask.cluster.node.worker_start tls://<scheduler> --name <job> "
WORKER += "--nthreads {threads} --memory-limit {memory} "
OPTIONS = "--no-dashboard --dashboard-address 127.0.0.1:0 "
OPTIONS += "--nanny --preload menndl_dask.cluster.node.retirement --cores {cores} "
SAFE = "--interface lo --protocol tls:// --tls-ca-file <ca> --tls-cert <certificate> --tls-key <key>"
PATIENT = "--death-timeout 60 "
ENDS = "--walltime 3600 --retire 360 "


def script(kind: str, directory: Path, **keys: Any) -> list[str]:
    """Return the lines of a job script, with what depends on this machine in words; no empty ones."""
    text = job_script(site(kind, directory, **keys))
    text = text.replace(str(directory), "SHARED").replace(sys.executable, "python").replace(str(Path.cwd()), "HERE")
    lines = [line for line in text.splitlines() if line and not line.startswith("export PYTHONPATH=")]
    always = ("#!/usr/bin/env bash", "cd HERE", "export MENNDL_JOB_START=$(date +%s)")
    return [line for line in lines if line not in always]


def worker(threads: int = 1, memory: str = "7.45GiB", cores: int = 8, more: str = "", ends: str = ENDS) -> str:
    """Return the command that starts the workers."""
    parts = (WORKER, PATIENT, ends, OPTIONS, more, SAFE)
    return "".join(parts).format(threads=threads, memory=memory, cores=cores)


def test_a_slurm_job_of_one_node_on_cpus(tmp_path: Path) -> None:
    assert script("slurm", tmp_path, jobqueue={"queue": "batch", "account": "abc"}) == [
        "#SBATCH -J menndl",
        "#SBATCH -e SHARED/jobs/menndl-%J.err",
        "#SBATCH -o SHARED/jobs/menndl-%J.out",
        "#SBATCH -p batch",
        "#SBATCH -A abc",
        "#SBATCH --mem=8G",
        "#SBATCH -t 01:00:00",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=8",
        "srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --cpus-per-task=8 --kill-on-bad-exit=0 --unbuffered " + worker(),
    ]


def test_a_slurm_job_of_two_nodes_with_a_worker_on_each_gpu(tmp_path: Path) -> None:
    lines = script("slurm", tmp_path, nodes_per_job=2, launcher="srun --gpu-bind=closest", **GPUS)
    assert lines[-5:] == [
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --gpus-per-node=4",
        "srun --nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=2 --kill-on-bad-exit=0 --unbuffered "
        "--gpu-bind=closest " + worker(memory="1.86GiB", cores=2, more="--gpus 4 --vendor nvidia "),
    ]


def test_a_slurm_job_with_one_worker_for_all_gpus_of_a_node(tmp_path: Path) -> None:
    lines = script("slurm", tmp_path, nodes_per_job=2, workers="per_node", **GPUS)
    assert lines[-1] == (
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=8 --kill-on-bad-exit=0 --unbuffered "
        + worker(threads=4, more="--gpus 4 --vendor nvidia --per-node ")
    )


def test_several_trainers_share_each_gpu(tmp_path: Path) -> None:
    lines = script("slurm", tmp_path, trainers_per_gpu=2, **GPUS)
    assert "#SBATCH --ntasks-per-node=8" in lines
    assert "--gpus 4 --vendor nvidia --tasks-per-gpu 2" in lines[-1]


def test_a_pbs_job_of_two_nodes(tmp_path: Path) -> None:
    assert script("pbs", tmp_path, nodes_per_job=2, launcher="mpiexec --cpu-bind depth", **GPUS) == [
        "#PBS -N menndl",
        "#PBS -l select=2:ncpus=8:mem=7630MB:ngpus=4",
        "#PBS -l walltime=01:00:00",
        "#PBS -e SHARED/jobs/",
        "#PBS -o SHARED/jobs/",
        "mpiexec -n 8 --ppn 4 --cpu-bind depth " + worker(memory="1.86GiB", cores=2, more="--gpus 4 --vendor nvidia "),
    ]


def test_a_moab_job_of_two_nodes(tmp_path: Path) -> None:
    keywords = {"resource_spec": "nodes=1:ppn=8"}
    assert script("moab", tmp_path, nodes_per_job=2, launcher="mpirun", jobqueue=keywords) == [
        "#PBS -N menndl",
        "#PBS -l nodes=2:ppn=8",
        "#PBS -l walltime=01:00:00",
        "#PBS -e SHARED/jobs/",
        "#PBS -o SHARED/jobs/",
        "mpirun -n 2 --map-by ppr:1:node --bind-to none " + worker(),
    ]


def test_an_lsf_job_of_two_nodes(tmp_path: Path) -> None:
    assert script("lsf", tmp_path, nodes_per_job=2, launcher="mpirun", jobqueue={"lsf_units": "mb"}, **GPUS) == [
        "#BSUB -J menndl",
        "#BSUB -e SHARED/jobs/<job>-%J.err",
        "#BSUB -o SHARED/jobs/<job>-%J.out",
        "#BSUB -n 16",
        '#BSUB -R "span[ptile=8]"',
        "#BSUB -M 8000",
        "#BSUB -W 01:00",
        '#BSUB -gpu "num=4"',
        "mpirun -n 8 --map-by ppr:4:node --bind-to none "
        + worker(memory="1.86GiB", cores=2, more="--gpus 4 --vendor nvidia "),
    ]


def test_an_lsf_job_of_whole_nodes_with_resource_sets(tmp_path: Path) -> None:
    lines = script("lsf", tmp_path, nodes_per_job=2, launcher="jsrun --smpiargs=off", **GPUS)
    assert lines[-3:-1] == ["#BSUB -W 01:00", "#BSUB -nnodes 2"]
    assert lines[-1].startswith(
        "jsrun --nrs 8 --rs_per_host 4 --tasks_per_rs 1 --cpu_per_rs 2 --gpu_per_rs 1 --smpiargs=off python -m "
    )


def test_an_sge_job_starts_its_tasks_without_a_launcher(tmp_path: Path) -> None:
    assert script("sge", tmp_path, jobqueue={"resource_spec": "gpu=4"}, **GPUS) == [
        "#$ -N menndl",
        "#$ -l gpu=4",
        "#$ -l h_rt=01:00:00",
        "#$ -e SHARED/jobs/",
        "#$ -o SHARED/jobs/",
        "#$ -cwd",
        "#$ -j y",
        worker(memory="1.86GiB", cores=2, more="--tasks 4 --gpus 4 --vendor nvidia "),
    ]


def test_an_oar_job(tmp_path: Path) -> None:
    assert script("oar", tmp_path, jobqueue={"memory_per_core_property_name": "not_applicable"}) == [
        "#OAR -n menndl",
        "#OAR -l /nodes=1/core=8,walltime=01:00:00",
        worker(),
    ]


def test_an_htcondor_job_asks_for_its_gpus(tmp_path: Path) -> None:
    lines = script("htcondor", tmp_path, jobqueue={"disk": "1GB", "walltime": None}, **GPUS)
    assert "Request_GPUs = 4" in lines
    command = worker(memory="1.86GiB", cores=2, more="--tasks 4 --gpus 4 --vendor nvidia ", ends="")
    assert lines[-3:] == [f"Arguments = \"-c '{command}'\"", "Executable = /bin/sh", "Queue"]


def test_an_unknown_keyword_of_dask_jobqueue_names_the_nearest(tmp_path: Path) -> None:
    told = "test.yaml: jobqueue: unknown keyword 'acount' for .*SLURMCluster; did you mean 'account'"
    with pytest.raises(ProfileError, match=told):
        job_script(site("slurm", tmp_path, jobqueue={"acount": "abc"}))
    with pytest.raises(ProfileError, match=r"unknown keyword 'nodes_per_job' .*; it belongs beside jobqueue"):
        job_script(site("slurm", tmp_path, jobqueue={"nodes_per_job": 2}))


def test_ports_of_the_site_are_shared_between_workers_and_nannies(tmp_path: Path) -> None:
    assert "--worker-port 10000:10100 --nanny-port 10101:10200" in script("slurm", tmp_path, ports=[10000, 10200])[-1]


@pytest.fixture
def settings() -> Iterator[None]:
    with dask.config.set({**DASK_SETTINGS, "distributed.deploy.lost-worker-timeout": "1s"}):
        yield


@pytest.fixture
def queue(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    queue = Queue(request.param, tmp_path)
    monkeypatch.setenv("PATH", f"{queue.path}{os.pathsep}{os.environ['PATH']}")
    yield queue
    queue.end()


EXTRA: dict[str, dict[str, Any]] = {
    "htcondor": {"disk": "1GB", "walltime": None},
    "oar": {"memory_per_core_property_name": "not_applicable"},
}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("queue", ["pbs", "lsf", "sge", "htcondor", "oar"], indirect=True)
def test_jobs_are_submitted_work_and_are_cancelled(queue: Queue, tmp_path: Path) -> None:
    where = site(queue.kind, tmp_path, jobqueue={"nanny": False, **EXTRA.get(queue.kind, {})})
    with site_cluster(where) as cluster, Client(cluster) as client:
        client.wait_for_workers(1, timeout=150)
        assert client.submit(sum, (1, 2)).result(timeout=150) == 3
    submitted, *others = queue.commands()
    assert submitted in ("qsub", "bsub", "condor_submit", "oarsub")
    assert others[-1] in ("qdel", "bkill", "condor_rm", "oardel")
    until(lambda: not queue.alive(), message=queue.printed)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("queue", ["pbs"], indirect=True)
def test_the_dashboard_is_where_it_is_said_to_be(queue: Queue, tmp_path: Path) -> None:
    where = site("pbs", tmp_path, jobs=[0, 1], dashboard_port=0, jobqueue={"interface": None, "walltime": None})
    with load_cluster(where) as cluster:
        assert cluster.dashboard is not None
        with urlopen(cluster.dashboard.replace("/status", "/health"), timeout=60) as answer:
            assert answer.read() == b"ok"
    assert queue.commands() == []


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("queue", ["pbs"], indirect=True)
def test_a_refused_job_is_told_in_the_batch_systems_own_words(queue: Queue, tmp_path: Path) -> None:
    queue.refuse()
    told = "test.yaml: the batch system refused a job: qsub: Unknown queue"
    with pytest.raises(ProfileError, match=told), site_cluster(site("pbs", tmp_path)):
        pass
    assert list(tmp_path.glob("credentials*")) == []


@pytest.mark.parametrize("way", ["module", "script"])
def test_jobs_find_the_modules_beside_the_program_but_not_those_of_the_package_by_their_bare_names(
    way: str, tmp_path: Path
) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "work").mkdir()
    profile = tmp_path / "mine.yaml"
    jobqueue = {"cores": 8, "memory": "8GB"}
    profile.write_text(yaml.safe_dump({"kind": "slurm", "shared_directory": str(tmp_path), "jobqueue": jobqueue}))
    program = tmp_path / "place" / "workflow.py"
    program.write_text("import sys\nfrom menndl_dask.cli.cli import main\nsys.exit(main())\n")
    start = ["-m", "menndl_dask.cli"] if way == "module" else [str(program)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    package = Path(menndl_dask.__file__).parent
    printed = subprocess.run(
        [sys.executable, *start, "cluster", "script", str(profile)],
        cwd=tmp_path / "work",
        env={**environment, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    line = next(line for line in printed.splitlines() if line.startswith("export PYTHONPATH="))
    paths = line.removeprefix("export PYTHONPATH=").removesuffix("${PYTHONPATH:+:$PYTHONPATH}").split(":")
    assert paths == [str(tmp_path / ("work" if way == "module" else "place")), str(package.parent)]


def test_whatever_a_profile_says_is_a_word_of_the_job_script(tmp_path: Path) -> None:
    hostile = '$(touch here) `touch here` "; touch here; \''
    keywords = {"local_directory": hostile, "worker_extra_args": ["--resources 'a=1 $(touch here)'"]}
    keywords |= {"python": "/my env/python", "log_directory": str(tmp_path / "my logs")}
    lines = script("slurm", tmp_path, launcher="srun '; touch here'", jobqueue=keywords)
    line = lines[-1].replace("<", "_").replace(">", "_")
    shell = ["bash", "-c", f"srun() {{ printf '%s\\n' \"$@\"; }}\n{line}"]
    words = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[words.index("--local-directory") + 1] == hostile
    assert words[words.index("--resources") + 1] == "a=1 $(touch here)"
    assert "/my env/python" in words and "; touch here" in words
    assert '#SBATCH -e "SHARED/my logs/menndl-%J.err"' in lines
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("key", ["queue", "account", "job_name", "interface"])
def test_a_line_of_a_header_cannot_be_left(key: str, tmp_path: Path) -> None:
    for value in ("a\ntouch here", "a --wrap=b", "a;b", "$(a)", "'a'"):
        with pytest.raises(ProfileError, match=f"jobqueue: {key}: expected a (word without spaces|text of one line)"):
            site("slurm", tmp_path, jobqueue={key: value})
    for value in ({"resource_spec": "a\ntouch here"}, {"shebang": "#!/bin/sh\ntouch here"}):
        with pytest.raises(ProfileError, match="expected a text of one line"):
            site("slurm", tmp_path, jobqueue=value)


def test_a_keyword_that_dask_jobqueue_cannot_use_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"test.yaml: jobqueue: dask-jobqueue cannot use it: \w+Error") as caught:
        job_script(site("slurm", tmp_path, jobqueue={"job_cpu": "many"}))
    assert "\n" not in str(caught.value)
    for key, told in (("name", "job_name is the name"), ("config_name", "belong in this file")):
        with pytest.raises(ProfileError, match=f"jobqueue: {key}: not to be given here: .*{told}"):
            site("slurm", tmp_path, jobqueue={key: "mine"})
    with pytest.raises(ProfileError, match="memory: expected a text such as 64GB, got '0'"):
        site("slurm", tmp_path, jobqueue={"memory": "0"})
    assert script("slurm", tmp_path, jobqueue={"log_directory": None}) == script("slurm", tmp_path)


def test_workers_know_the_time_limit_that_the_script_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("kind: slurm\njobqueue: {cores: 8, memory: 8GB}\n")
    lines = job_script(read_profile(tmp_path / "mine.yaml")).splitlines()
    assert "#SBATCH -t 00:30:00" in lines and "--walltime 1800 --retire 180" in lines[-1]
    own = {"walltime": "08:00:00", "local-directory": "/scratch", "scheduler-options": {"dashboard_address": ":1"}}
    given = {"jobqueue": {"slurm": {**own, "job-extra-directives": ["-x"]}}}
    monkeypatch.setattr(dask.config, "collect", lambda paths=(), env=None: {} if env == {} else given)
    where = read_profile(tmp_path / "mine.yaml")
    lines = job_script(where).splitlines()
    assert "#SBATCH -t 08:00:00" in lines and "--walltime 28800 --retire 600" in lines[-1] and "#SBATCH -x" in lines
    assert "--local-directory /scratch" in lines[-1] and "scheduler_options" not in where.jobqueue
    first, second = remarks(where)
    assert "a job may run for 8 h; workers accept no evaluation in the last 10 min" in first
    assert "the profile has none: job_extra_directives, local_directory, walltime" in second
    (minutes,) = remarks(site("slurm", tmp_path, jobqueue={"walltime": "04:00"}))
    assert minutes.startswith("walltime 04:00: a job may run for 4 min")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("queue", ["pbs"], indirect=True)
def test_where_jobs_end_at_once_a_single_one_is_tried_after_pauses_until_one_works(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(multi_node_cluster, "_CHECK_S", 0.05)
    monkeypatch.setattr(multi_node_cluster, "_QUEUE_S", 0.0)
    broken = tmp_path / "broken"
    broken.touch()
    end = f"test -e {broken} && {{ printf 'one\\ntwo\\nthe disk is full\\n'; exit 1; }}"
    where = site("pbs", tmp_path, jobs=2, jobqueue={"nanny": False, "job_script_prologue": [end]})
    with site_cluster(where) as cluster, Client(cluster) as client:
        cluster.watch._has_worked, cluster.watch._shortest_s = True, 0.2
        until(lambda: "3 jobs in a row ended at once; another one is tried after 1 min" in caplog.text)
        submitted = queue.commands().count("qsub")
        cluster._ended_at = -math.inf  # the pause is over
        until(lambda: "4 jobs in a row ended at once; another one is tried after 2 min" in caplog.text)
        assert queue.commands().count("qsub") == submitted + 1
        assert cluster.trouble is None
        broken.unlink()
        cluster._ended_at = -math.inf
        client.wait_for_workers(2, timeout=150)
        assert "jobs work again; 1 more job submitted" in caplog.text
        assert not cluster.watch.in_crash_loop
