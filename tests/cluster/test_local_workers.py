"""The workers of this machine: their number, their GPUs and what is said of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from menndl_dask.cluster import local_workers
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.local_workers import LocalWorkers
from menndl_dask.cluster.profile import Local, read_profile
from menndl_dask.environment import DEVICES, GPU_SHARE, MEMORY
from menndl_dask.search.islands.resources import island_resources
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.scheduler_link import SchedulerLink
from tests.cluster.tools import H200, Tools

TWO = [H200, H200]


def test_gpus_are_found_and_get_a_worker_each(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.nvidia(*TWO)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    workers = LocalWorkers(Local())
    assert workers.text() == "2 GPUs: NVIDIA H200 (151 GB); one worker each"
    assert workers.environments() == {
        number: {"CUDA_VISIBLE_DEVICES": str(number), "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "TF_NUM_INTRAOP_THREADS": "8"}
        for number in range(2)
    }
    machine = Machine.of(Local())
    assert (machine.workers, machine.cores, machine.gpus) == (2, 8, True)
    assert machine.gpu_bytes == pytest.approx(143771 * 2**20)
    assert machine.described == workers.text()
    each = island_resources(Local(), None, 2)
    assert [(one.workers, one.environment["CUDA_VISIBLE_DEVICES"]) for one in each] == [(1, "0"), (1, "1")]


@pytest.mark.parametrize(
    ("profile", "ids", "told", "share"),
    [
        (Local(workers=1), ["0"], "2 GPUs: NVIDIA H200 (151 GB); 1 worker, on 1 of them", None),
        (Local(workers=4), ["0", "1", "0", "1"], "2 GPUs: NVIDIA H200 (151 GB); 4 workers, 2 on each", "0.5"),
        (Local(trainers_per_gpu=2), ["0", "0", "1", "1"], "2 GPUs: NVIDIA H200 (151 GB); 4 workers, 2 on each", "0.5"),
        (Local(gpus=1, gpu_vendor="nvidia"), ["0"], "1 GPU: NVIDIA H200 (151 GB); one worker each", None),
    ],
)
def test_another_number_of_workers_shares_the_gpus(
    tools: Tools, profile: Local, ids: list[str], told: str, share: str | None
) -> None:
    tools.nvidia(*TWO)
    told += "; without NVIDIA's MPS they take turns" if share else ""
    environments = LocalWorkers(profile).environments().values()
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == ids
    assert LocalWorkers(profile).text() == told
    assert {each.get(GPU_SHARE) for each in environments} == {share}


def test_gpus_that_the_user_has_chosen_are_dealt_under_their_own_names(tools: Tools) -> None:
    tools.nvidia(*TWO)
    tools.environment({"CUDA_VISIBLE_DEVICES": "1"})
    workers = LocalWorkers(Local())
    assert workers.text() == "1 GPU: NVIDIA H200 (151 GB); one worker each"
    (one,) = workers.environments().values()
    assert one["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_DEVICE_ORDER" not in one  # the user has counted in CUDA's own order


def test_on_amd_what_the_user_has_set_does_not_hide_the_one_gpu_of_a_worker(tools: Tools) -> None:
    tools.amd((90010, 64 * 10**9), (90010, 64 * 10**9))
    tools.environment({"HIP_VISIBLE_DEVICES": "1"})
    (one,) = LocalWorkers(Local()).environments().values()
    assert (one["ROCR_VISIBLE_DEVICES"], one["HIP_VISIBLE_DEVICES"]) == ("1", "0")


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("tensorflow", 'TensorFlow here cannot use it: pip install "menndl_dask[cuda]"'),
        ("jax", 'JAX here cannot use it: pip install "jax[cuda13]"'),
    ],
)
def test_a_gpu_that_the_framework_cannot_use_is_told_with_the_command_to_install(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, backend: str, told: str
) -> None:
    tools.nvidia(H200)
    tools.frameworks_see(False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    workers = LocalWorkers(Local(), backend)
    assert workers.text() == f"4 workers without a GPU (1 GPU: NVIDIA H200 (151 GB), but {told})"
    assert workers.environments()[3] == {"TF_NUM_INTRAOP_THREADS": "1"}


def test_on_amd_tensorflow_is_told_of_jax(tools: Tools) -> None:
    tools.amd((90402, 192 * 10**9))
    tools.frameworks_see(False, " (no such module)")
    assert 'use --backend jax, after pip install "jax[rocm7-local]"' in LocalWorkers(Local()).text()
    assert "TensorFlow here cannot use it (no such module)" in LocalWorkers(Local()).text()


def test_no_gpu_is_used_where_the_profile_says_so(tools: Tools) -> None:
    tools.nvidia(*TWO)
    workers = LocalWorkers(read_profile("local_cpu"))
    assert workers.text() == f"{workers.count} workers without a GPU"
    assert workers.environments()[0]["CUDA_VISIBLE_DEVICES"] == "-1"


def test_this_framework_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_workers._COUNTS, "jax", "print('a warning\\n3')")
    assert local_workers._usable("jax", ("three",)) == (True, "")
    monkeypatch.setitem(local_workers._COUNTS, "jax", "import no_such_framework")
    assert local_workers._usable("jax", ("none",)) == (
        False,
        " (ModuleNotFoundError: No module named 'no_such_framework')",
    )


def test_a_gpu_that_networks_share_as_they_fit_has_one_worker_with_several_trainers(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.nvidia(*TWO)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    workers = LocalWorkers(Local(trainers_per_gpu="auto"))
    assert (workers.count, workers.most) == (2, 6)  # one for each core
    usable = 0.9 * 143771 * 2**20
    for number, options in workers.options().items():
        assert (options["nthreads"], options["resources"]) == (6, {MEMORY: pytest.approx(usable)})
        assert options["env"][DEVICES] == f"nvidia:{','.join(str(number) * 6)}"
        assert options["env"]["TF_NUM_INTRAOP_THREADS"] == "1"
        assert GPU_SHARE not in options["env"]
    machine = Machine.of(Local(trainers_per_gpu="auto"))
    assert (machine.workers, machine.cores) == (2, 1)
    assert machine.gpu_bytes == pytest.approx(143771 * 2**20)
    told = "2 GPUs: NVIDIA H200 (151 GB); one network on each at first, up to 6 where that is faster"
    assert workers.text() == f"{told}; without NVIDIA's MPS they take turns"


@pytest.mark.parametrize(("is_running", "told"), [(True, "NVIDIA's MPS is running"), (False, "they take turns")])
def test_nvidias_mps_is_told_where_it_runs(tools: Tools, tmp_path: Path, is_running: bool, told: str) -> None:
    pid = os.getpid() if is_running else 2**30
    tools.nvidia(H200)
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text(f"{pid}\n")
    tools.environment({"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)})
    assert LocalWorkers(Local(trainers_per_gpu=2)).text().endswith(told)
    assert "MPS" not in LocalWorkers(Local()).text()


def test_a_worker_declares_the_memory_of_its_own_gpu(tools: Tools) -> None:
    tools.nvidia(H200, ("NVIDIA L4", 23034))
    declared = [each["resources"][MEMORY] for each in LocalWorkers(Local()).options().values()]
    assert declared == [pytest.approx(0.9 * size * 2**20) for size in (143771, 23034)]
    assert LocalWorkers(Local(gpus=0)).options().keys() == LocalWorkers(Local(gpus=0)).environments().keys()


def test_workers_of_found_gpus_see_one_each(tools: Tools) -> None:
    tools.nvidia(H200, ("NVIDIA L4", 23034))
    with load_cluster(Local(dashboard_port=None)) as cluster, cluster.client() as client:
        assert cluster.description.startswith("2 GPUs: ")
        assert sorted(client.run(os.getenv, "CUDA_VISIBLE_DEVICES").values()) == ["0", "1"]
        declared = SchedulerLink(client).declared(MEMORY) or {}
        assert sorted(declared.values()) == [pytest.approx(0.9 * size * 2**20) for size in (23034, 143771)]
