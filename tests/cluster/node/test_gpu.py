"""Tests of `menndl_dask.cluster.node.gpu`: what a task may see, and a worker with a trainer on each GPU of its node."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from menndl_dask.cluster.node.gpu import assigned_gpu, gpu_visibility_variables, visible
from menndl_dask.data.data import open_problem
from menndl_dask.environment import DEVICES
from menndl_dask.errors import ProfileError
from menndl_dask.evaluation import trainer_pool
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import FullyConnected
from menndl_dask.problem import Budget, Limits
from tests import stores


def test_names_that_are_no_numbers_are_kept() -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": "GPU-8f1, MIG-3"}, "nvidia", 8) == ["GPU-8f1", "MIG-3"]


def test_more_tasks_than_gpus_are_a_mistake_in_words() -> None:
    with pytest.raises(ProfileError, match="does gpus_per_node in the profile agree with the site"):
        assigned_gpu(["0", "1"], 2)


@pytest.mark.parametrize("vendor", ["nvidia", "amd", "intel"])
def test_just_one_variable_says_what_is_seen(vendor: str) -> None:
    changes = gpu_visibility_variables(vendor, ["3"])
    said = {name: value for name, value in changes.items() if value is not None}
    assert said.pop("ZE_FLAT_DEVICE_HIERARCHY", "FLAT") == "FLAT"
    assert list(said.values()) == ["3"]


def test_a_worker_with_two_gpus_trains_on_both_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stores.write(stores.classification(), tmp_path / "data.zarr")
    problem = open_problem(path, budget=Budget(epochs=1))
    monkeypatch.setenv(DEVICES, "nvidia:4,6")
    trainer_pool.close()
    trainer_pool.pool_of.cache_clear()
    try:
        with ThreadPoolExecutor(2) as threads:
            individuals = [Individual(number, Genome((FullyConnected(4 + number),))) for number in range(2)]
            results = list(threads.map(lambda one: evaluate(one, problem, Limits(120)), individuals))
        assert [result.message for result in results] == ["", ""]
        trainers = [
            process for process in psutil.Process().children() if "menndl_dask.evaluation.trainer" in process.cmdline()
        ]
        assert sorted(trainer.environ()["CUDA_VISIBLE_DEVICES"] for trainer in trainers) == ["4", "6"]
    finally:
        trainer_pool.close()
        trainer_pool.pool_of.cache_clear()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in ("4", "6")
