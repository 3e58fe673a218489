"""What each of several islands gets of a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from menndl_dask.cluster.profile import Local, Scheduler
from menndl_dask.errors import UserError
from menndl_dask.search.islands.resources import IslandResources, island_resources
from tests.sites import site


def test_the_workers_and_cores_of_a_machine_are_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    each = island_resources(Local(), None, 3)
    assert [one.workers for one in each] == [6, 5, 5]
    assert {one.environment["TF_NUM_INTRAOP_THREADS"] for one in each} == {"1"}
    few = island_resources(Local(workers=2), None, 3)
    assert [one.workers for one in few] == [1, 1, 1]
    assert few[0].environment == {"TF_NUM_INTRAOP_THREADS": "5"}
    assert [one.words for one in island_resources(Local(), 4, 2)] == [["--workers", "2"]] * 2


def test_each_island_sees_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)
    each = island_resources(Local(gpus=5, gpu_vendor="amd", trainers_per_gpu=2), None, 2)
    assert [one.environment["ROCR_VISIBLE_DEVICES"] for one in each] == ["0,2,4", "1,3"]
    assert [one.workers for one in each] == [6, 4]
    assert each[0].environment["HIP_VISIBLE_DEVICES"] is None
    with pytest.raises(UserError, match=r"at most one for each GPU of this machine \(5\), got 6"):
        island_resources(Local(gpus=5, gpu_vendor="amd"), None, 6)


def test_on_a_batch_system_each_island_asks_for_what_the_profile_says(tmp_path: Path) -> None:
    profile = site("slurm", tmp_path)
    assert island_resources(profile, None, 3) == [IslandResources()] * 3
    assert island_resources(profile, None, 3)[0].words == []
    assert [one.workers for one in island_resources(profile, 5, 2)] == [3, 2]


def test_one_scheduler_or_one_allocation_is_not_shared(tmp_path: Path) -> None:
    allocation = site("allocation", tmp_path, batch="slurm")
    for profile in (Scheduler(address="tcp://127.0.0.1:1"), allocation):
        with pytest.raises(UserError, match="expected a profile that starts workers for each island"):
            island_resources(profile, None, 2)
    assert island_resources(allocation, None, 2, is_detached=True) == [IslandResources()] * 2
