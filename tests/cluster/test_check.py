"""What a check says of made-up workers: each mistake of a site in plain words."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from menndl_dask.cluster import check
from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.check import ProfileCheck, check_profile, describe
from menndl_dask.cluster.node.diagnostics import NodeReport, own_versions
from menndl_dask.cluster.profile import Local
from tests.sites import site

GOOD = NodeReport(
    worker="menndl-1-0", host="node1", versions=own_versions(), visible={"CUDA_VISIBLE_DEVICES": "0"},
    gpus=("NVIDIA A100, 550.54",), backend="tensorflow", device="/job:localhost/device:GPU:0", keras_s=8.0,
    directory="/tmp/dask", free_gb=400.0, file_system="ext4",
)  # fmt: skip
OTHER = replace(GOOD, worker="menndl-1-1", visible={"CUDA_VISIBLE_DEVICES": "1"})


def gpu_site(**keys: Any) -> Site:
    return site("slurm", gpus_per_node=2, gpu_vendor="nvidia", **keys)


def said(*reports: NodeReport, expected: int = 2, no_worker_reason: str = "", **keys: Any) -> tuple[str, bool]:
    return describe(gpu_site(**keys), ProfileCheck(reports, expected, 12.0, no_worker_reason))


def test_two_workers_with_a_gpu_each_are_well() -> None:
    text, is_good = said(GOOD, OTHER)
    assert is_good
    assert text.startswith("2 of 2 workers on 1 node, the first after 12 s\n")
    assert "menndl-1-1 on node1: CUDA_VISIBLE_DEVICES=1" in text
    assert "node1: NVIDIA A100, 550.54" in text
    assert text.endswith("All is well.")


MISTAKES = {
    "expected 2 workers, got 1: do the numbers": [GOOD],
    "2 workers on node1 see the same: CUDA_VISIBLE_DEVICES=0": [GOOD, replace(OTHER, visible=GOOD.visible)],
    "Keras computes on the CPU in menndl-1-1: is its backend": [GOOD, replace(OTHER, device="/device:CPU:0")],
    "menndl-1-1: Keras does not work there: No module": [GOOD, replace(OTHER, device="", error="No module")],
    "a shared file system: set local_directory": [GOOD, replace(OTHER, file_system="lustre")],
    "only 1.5 GB free in /tmp/dask": [GOOD, replace(OTHER, free_gb=1.5)],
    "workers have Python 3.7, the driver has": [GOOD, replace(OTHER, versions={**GOOD.versions, "Python": "3.7"})],
}


@pytest.mark.parametrize("told", MISTAKES)
def test_a_mistake_is_said_in_plain_words(told: str) -> None:
    text, is_good = said(*MISTAKES[told])
    assert not is_good
    assert f"WRONG: {told}" in text or (text.count("WRONG: ") == 1 and told in text)


def test_workers_that_share_a_gpu_on_purpose_are_well() -> None:
    assert said(GOOD, replace(OTHER, visible=GOOD.visible), trainers_per_gpu=2)[1]


def test_one_worker_for_a_node_sees_all_gpus() -> None:
    assert said(replace(GOOD, visible={"CUDA_VISIBLE_DEVICES": "0,1"}), expected=1, workers="per_node")[1]


@pytest.mark.parametrize(
    ("queue", "told"),
    [
        ({"12": "Priority"}, r"no worker; job 12 waits in the queue: Priority\. .* wait longer"),
        ({"12": "Bad: for ever, since it is"}, "no worker; job 12 waits in the queue: Bad: for ever, since it is$"),
        ({"12": ""}, "no worker; job 12 is in the queue. If it still waits, wait longer"),
        ({}, "no worker; its job has left the queue; .*menndl-12.err says: ValueError: 'hsn0' is not a valid network"),
    ],
)
def test_without_workers_the_queue_is_asked_why(
    queue: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ValueError: 'hsn0' is not a valid network interface\nRuntimeError: Nanny failed to start.\n"
    (tmp_path / "menndl-12.err").write_text(f"{said}srun: error: n1: task 0: Exited with exit code 1\n")
    monkeypatch.setattr(check, "queued", lambda profile, numbers: queue)
    client: Any = SimpleNamespace(
        cluster=SimpleNamespace(workers={"menndl-1": SimpleNamespace(job_id="12", log_directory=str(tmp_path))}),
        scheduler=None,
    )
    assert re.match(told, check._why(gpu_site(), client, "no worker"))


def test_workers_that_do_not_answer_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_INSPECTION_S", 0.1)
    monkeypatch.setattr(check, "inspect_node", partial(time.sleep, 3))
    found = check_profile(Local(workers=1, dashboard_port=None), 60)
    assert describe(Local(), found) == ("\nWRONG: no worker has answered", False)


def test_without_workers_the_reason_is_all_there_is() -> None:
    assert said(no_worker_reason="no worker after 600 s") == ("\nWRONG: no worker after 600 s", False)


def test_nobody_waits_for_a_job_that_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_: float) -> None:
        pytest.fail("it waits")

    monkeypatch.setattr("menndl_dask.cluster.check.time.sleep", sleep)
    cluster = SimpleNamespace(waits_for="AssocGrpCpuLimit: for ever, since the account may not use as many processors")
    client: Any = SimpleNamespace(cluster=cluster, nthreads=dict)
    assert check._await_workers(client, 1, 600).startswith("no worker after 0")
