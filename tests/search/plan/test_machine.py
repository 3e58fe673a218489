"""The machine: workers of a profile and the memory of each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.cluster.profile import Local, read_profile
from menndl_dask.search.plan import machine
from menndl_dask.search.plan.machine import Machine


def test_workers_of_this_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_bytes", lambda: 16e9)
    found = Machine.of(Local(workers=None), workers=3)
    assert (found.workers, found.is_this, found.may_change_workers) == (3, True, False)
    assert found.memory_bytes == pytest.approx(4.5e9)
    fewer = replace(found, may_change_workers=True).with_workers(2)
    assert fewer.memory_bytes == pytest.approx(7e9)


def test_fewer_workers_are_used_where_each_needs_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_bytes", lambda: 9e9)
    found = replace(Machine.of(Local(workers=4)), may_change_workers=True)
    assert found.most_workers(1.0) == 4
    assert found.most_workers(3.0) == 2
    assert replace(found, may_change_workers=False).most_workers(3.0) == 4


def test_a_profile_of_a_batch_system_says_the_memory_of_a_worker(tmp_path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        "kind: slurm\njobs: 2\ngpus_per_node: 4\ngpu_vendor: nvidia\n"
        "jobqueue: {cores: 32, memory: 66GB, walltime: '01:00:00'}\n"
    )
    found = Machine.of(read_profile(file))
    assert (found.workers, found.cores, found.gpus, found.is_this) == (8, 8, True, False)
    assert found.memory_bytes == pytest.approx(16e9)
