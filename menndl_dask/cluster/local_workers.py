"""The workers of this machine: how many, on which GPUs, and what each is told. Runs on the driver."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from menndl_dask.cluster.node.found_gpus import Gpu, Gpus, found_gpus, mps_is_running, why_none
from menndl_dask.cluster.node.gpu import (
    gpu_share_variables,
    gpu_visibility_variables,
    hidden_gpus,
    usable_bytes,
    visible,
)
from menndl_dask.cluster.profile import AUTO, Local
from menndl_dask.environment import DEVICES, GPU_VARIABLES, MEMORY, TRAINING_THREADS
from menndl_dask.problem import BACKENDS
from menndl_dask.text import counted

_MOST = 8  # networks on a GPU
_LEAST_BYTES = 2e9  # of a GPU for a network
_START_S = 300.0  # in which a framework must be imported
_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# how many GPUs a framework sees, without its allocating their memory
_COUNTS = {
    "tensorflow": "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))",
    "jax": "import jax; print(sum(d.platform != 'cpu' for d in jax.devices()))",
    "torch": "import torch; print(torch.cuda.device_count() or torch.xpu.device_count())",
}
# what makes a framework see the GPUs of a vendor
_CUDA, _PAGE = 'pip install "menndl_dask[cuda]"', "see docs/clusters.md, section GPUs"
_INSTALLS = {
    ("nvidia", "tensorflow"): _CUDA,
    ("nvidia", "jax"): 'pip install "jax[cuda13]"',
    ("nvidia", "torch"): "pip install torch",
    ("amd", "tensorflow"): f'use --backend jax, after pip install "jax[rocm7-local]"; {_PAGE}',
    ("amd", "jax"): 'pip install "jax[rocm7-local]"',
    ("intel", "tensorflow"): f"use --backend torch, with PyTorch's build for Intel GPUs; {_PAGE}",
}


@dataclass(frozen=True)
class LocalWorkers:
    """The workers of a profile of this machine.

    Parameters
    ----------
    profile
        The profile.
    backend
        Of Keras, which must be able to use GPUs that are found; None for that of the environment.
    """

    profile: Local
    backend: str | None = None

    @cached_property
    def _found(self) -> tuple[Gpus | None, str]:
        """The GPUs for the workers, and why there are none where that needs a word."""
        profile = self.profile
        if profile.gpus is not None and profile.gpu_vendor is not None:
            known = found_gpus()
            same = known.each if known is not None and known.vendor == profile.gpu_vendor else ()
            by_id = {gpu.id: gpu for gpu in same}
            ids = visible(os.environ, profile.gpu_vendor, profile.gpus)
            return Gpus(profile.gpu_vendor, tuple(by_id.get(each, Gpu(each)) for each in ids)), ""
        if profile.gpus == 0:
            return None, ""
        found = found_gpus()
        if found is None:
            return None, why_none()
        backend = self.backend or os.environ.get("KERAS_BACKEND") or BACKENDS[0]
        usable, why = _usable(backend, _state())
        if usable:
            return found, ""
        install = _INSTALLS.get((found.vendor, backend), _PAGE)
        name = _NAMES.get(backend, backend)
        them = "it" if len(found.each) == 1 else "them"
        return None, f"{found.text()}, but {name} here cannot use {them}{why}: {install}"

    @property
    def gpus(self) -> Gpus | None:
        """The GPUs for the workers; None without any."""
        return self._found[0]

    @property
    def count(self) -> int:
        """Number of workers."""
        own = 0 if self.gpus is None else len(self.gpus.each) * self._asked
        if own and self.is_shared:  # each worker has several trainers
            return min(self.profile.workers or own, own)
        return self.profile.workers or own or len(os.sched_getaffinity(0))

    @property
    def is_shared(self) -> bool:
        """Whether the search chooses how many networks share a GPU."""
        return self.gpus is not None and self.profile.trainers_per_gpu == AUTO

    @property
    def most(self) -> int:
        """Number of trainers of a worker: the most networks that it trains at the same time."""
        if self.gpus is None or not self.is_shared:
            return 1
        by_memory = (self.gpus.least_bytes or math.inf) / _LEAST_BYTES
        return int(max(1, min(_MOST, len(os.sched_getaffinity(0)) // self.count, by_memory)))

    @property
    def _asked(self) -> int:
        """Workers on each GPU that the profile asks for."""
        return self.profile.trainers_per_gpu if isinstance(self.profile.trainers_per_gpu, int) else 1

    @property
    def trainers_per_gpu(self) -> int:
        """The most workers that share a GPU: those of the profile, or more where it has more workers than GPUs."""
        if self.gpus is None:
            return 1
        return max(self._asked, math.ceil(self.count / len(self.gpus.each)))

    def text(self) -> str:
        """Return in one line what the workers compute on."""
        if self.gpus is None:
            why = self._found[1]
            return f"{counted(self.count, 'worker')} without a GPU{f' ({why})' if why else ''}"
        number, shared = len(self.gpus.each), self.trainers_per_gpu
        each = "one worker each"
        if self.count < number:
            each = f"{counted(self.count, 'worker')}, on {self.count} of them"
        elif shared > 1:
            each = f"{counted(self.count, 'worker')}, {'up to ' if self.count % number else ''}{shared} on each"
        if self.is_shared:
            each = f"one network on each at first, up to {self.most} where that is faster"
        return f"{self.gpus.text()}; {each}{self._turns()}"

    def _turns(self) -> str:
        """Return whether networks that share a GPU of NVIDIA compute at the same time."""
        if self.gpus is None or self.gpus.vendor != "nvidia" or max(self.most, self.trainers_per_gpu) == 1:
            return ""
        return "; NVIDIA's MPS is running" if mps_is_running() else "; without NVIDIA's MPS they take turns"

    def environments(self) -> dict[int, dict[str, str]]:
        """Return the variables of each worker: its share of the cores, and its own GPU if there are GPUs."""
        # a nanny would give each worker one thread; trainings use the other cores
        cores = len(os.sched_getaffinity(0)) // (self.count * self.most)
        threads = os.environ.get(TRAINING_THREADS) or str(max(1, cores))
        alike = {TRAINING_THREADS: threads, **gpu_share_variables(self.trainers_per_gpu)}
        if self.gpus is None:
            own = [hidden_gpus() if self.profile.gpus == 0 else {}] * self.count
        else:
            ids, shared = self.gpus.ids, self._asked
            chosen = [ids[number // shared % len(ids)] for number in range(self.count)]
            own = [self._of_gpu(each) for each in chosen]
        return {number: alike | each for number, each in enumerate(own)}

    def options(self) -> dict[int, dict[str, Any]]:
        """Return for each worker the options with which it is started: its variables, and its memory on a GPU."""
        each = {number: {"env": environment} for number, environment in self.environments().items()}
        if self.gpus is None:
            return each
        threads = {"nthreads": self.most} if self.is_shared else {}
        return {number: {**one, "resources": self._memory(number), **threads} for number, one in each.items()}

    def _memory(self, number: int) -> dict[str, float]:
        assert self.gpus is not None
        size = self.gpus.each[number // self._asked % len(self.gpus.each)].memory_bytes
        return {} if size is None else {MEMORY: usable_bytes(size, self.trainers_per_gpu)}

    def _of_gpu(self, device: str) -> dict[str, str]:
        assert self.gpus is not None
        vendor = self.gpus.vendor
        variables = gpu_visibility_variables(vendor, [device])
        # a nanny cannot remove a variable: on AMD the ones that are left count within the one visible device
        left_over = {name: "0" for name, value in variables.items() if value is None and name in os.environ}
        is_counted_here = vendor == "nvidia" and GPU_VARIABLES[vendor] not in os.environ
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if is_counted_here else {}  # that of nvidia-smi
        trainers = {DEVICES: f"{vendor}:{','.join([device] * self.most)}"} if self.is_shared else {}
        own = {name: value for name, value in variables.items() if value is not None}
        return {**order, **left_over, **trainers, **own}


def _state() -> tuple[str, ...]:
    """Return what may change which GPUs a framework sees."""
    names = ("PATH", "LD_LIBRARY_PATH", "HIP_VISIBLE_DEVICES", *GPU_VARIABLES.values())
    return tuple(os.environ.get(name, "") for name in names)


@lru_cache
def _usable(backend: str, state: tuple[str, ...]) -> tuple[bool, str]:
    """Return whether a framework sees a GPU, asked in a process of its own, and why it cannot even be imported."""
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", _COUNTS[backend]]
    try:
        asked = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_START_S, check=False
        )  # fmt: skip
        if asked.returncode:
            return False, f" ({(asked.stderr.strip().splitlines() or ['it cannot be imported'])[-1][:120]})"
        return int(asked.stdout.split()[-1]) > 0, ""
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return False, " (it does not answer)"
