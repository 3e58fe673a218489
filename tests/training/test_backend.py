"""The backend of Keras for one training: what is set so that several share a GPU. No GPU has tried it."""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import pytest

from menndl_dask.environment import GPU_SHARE
from menndl_dask.training import backend
from menndl_dask.training.backend import share_with_jax, share_with_tensorflow, share_with_torch, total_memory

GPU = "a GPU"
THREADS = ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads")


class Driver:
    """The library of a driver: a GPU with 80 GiB, if it has one."""

    def __init__(self, status: int = 0) -> None:
        self._status = status

    def cuInit(self, flags: int) -> int:  # noqa: N802 - as it is called
        return self._status

    def cuDeviceTotalMem_v2(self, size: Any, device: int) -> int:  # noqa: N802
        ctypes.cast(size, ctypes.POINTER(ctypes.c_size_t))[0] = 80 * 2**30
        return self._status


def loaded(name: str, status: int = 0) -> Driver:
    """Load the library of one vendor alone."""
    if name != "libcuda.so.1":
        raise OSError(name)
    return Driver(status)


def silent(name: str) -> Driver:
    """Load a library that finds no GPU."""
    return loaded(name, status=100)


class Config:
    """What TensorFlow is told, as `tensorflow.config`."""

    LogicalDeviceConfiguration = SimpleNamespace

    def __init__(self, devices: list[str]) -> None:
        self._devices = devices
        self.told: list[Any] = []
        self.experimental = SimpleNamespace(set_memory_growth=lambda *given: self.told.append(given))
        self.optimizer = SimpleNamespace(set_experimental_options=self.told.append)

    def list_physical_devices(self, kind: str) -> list[str]:
        return self._devices

    def set_logical_device_configuration(self, device: str, parts: list[SimpleNamespace]) -> None:
        self.told.append((device, *(part.memory_limit for part in parts)))


def test_the_memory_of_a_gpu_is_known_where_its_driver_says_it() -> None:
    assert total_memory(loaded) == 80 * 2**30
    assert total_memory(silent) is None


def test_a_training_with_tensorflow_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "")
    config = Config([GPU])
    share_with_tensorflow(config, 0.25, loaded)
    assert config.told == [(GPU, 20 * 1024)]
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


@pytest.mark.parametrize(("usable", "load"), [(None, loaded), (0.25, silent)])
def test_without_a_share_tensorflow_takes_what_it_needs(usable: float | None, load: Any) -> None:
    config = Config([GPU])
    share_with_tensorflow(config, usable, load)
    assert config.told == [(GPU, True)]


def test_without_a_gpu_there_is_nothing_to_share() -> None:
    config = Config([])
    share_with_tensorflow(config, 0.25, loaded)
    assert config.told == [{"disable_meta_optimizer": True}]


def test_a_training_with_torch_or_jax_takes_no_more_than_its_share() -> None:
    told: list[float] = []
    for found in (True, False):
        cuda = SimpleNamespace(is_available=lambda f=found: f, set_per_process_memory_fraction=told.append)
        for usable in (0.25, None):
            share_with_torch(cuda, usable)
    assert told == [0.25]
    assert share_with_jax(0.225) == {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225",
    }  # fmt: skip


def test_a_training_that_is_given_bytes_of_a_gpu_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float | None] = []
    monkeypatch.setattr(backend, "total_memory", lambda: 80 * 2**30)
    monkeypatch.setattr(backend, "share_with_tensorflow", lambda _, usable: shares.append(usable))
    monkeypatch.setattr("tensorflow.config.threading", SimpleNamespace(**dict.fromkeys(THREADS, lambda _: None)))
    monkeypatch.setenv(GPU_SHARE, "0.5")
    backend.configure(0, deterministic=False, gpu_bytes=20 * 2**30)
    backend.configure(0, deterministic=False)
    assert shares == [0.25, 0.45]
