"""Diagnostics of a node: host, GPUs, Keras and disk. Runs on a worker, and in a child process that imports Keras."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distributed import get_worker

from menndl_dask.environment import GPU_VARIABLES

_DRIVERS = (
    ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
    ("rocm-smi", "--showproductname", "--showdriverversion", "--csv"),
    ("xpu-smi", "discovery"),
)
_SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "panfs", "cifs", "ceph", "fuse.sshfs")
_KERAS_S = 600.0
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one worker has found on its node."""

    worker: str
    host: str
    versions: dict[str, str]  # of Python and of the packages that must agree with those of the driver
    visible: dict[str, str]  # environment variables that decide which GPUs the worker sees
    gpus: tuple[str, ...]  # output of the vendor's program, one line for each GPU; empty if there is no such program
    backend: str  # of Keras; empty if `error` is set, as the device on which it has computed
    device: str
    keras_s: float  # seconds until Keras had computed for the first time
    directory: str  # to which the worker writes
    free_gb: float
    file_system: str
    error: str = ""  # why Keras could not compute

    @property
    def is_on_gpu(self) -> bool:
        """Whether Keras has computed on a GPU."""
        return any(word in self.device.lower() for word in ("gpu", "cuda", "rocm", "xpu"))

    @property
    def writes_to_shared_disk(self) -> bool:
        """Whether the worker writes to a network file system."""
        return self.file_system in _SHARED


def own_versions() -> dict[str, str]:
    """Return the versions that must agree between the driver and its workers."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"Python": python, **{name: version(name) for name in ("dask", "distributed", "menndl-dask")}}


def inspect_node() -> NodeReport:
    """Return a report of the node of the Dask worker on which this runs."""
    worker = get_worker()
    directory = str(worker.local_directory)
    began = time.monotonic()
    backend, device, error = _keras()
    return NodeReport(
        worker=str(worker.name),
        host=socket.gethostname(),
        versions=own_versions(),
        visible={name: os.environ[name] for name in GPU_VARIABLES.values() if name in os.environ},
        gpus=_gpus(),
        backend=backend,
        device=device,
        keras_s=time.monotonic() - began,
        directory=directory,
        free_gb=shutil.disk_usage(directory).free / 1e9,
        file_system=_file_system(Path(directory)),
        error=error,
    )


def _keras() -> tuple[str, str, str]:
    """Compute with Keras in a process of its own, as trainings do; return backend, device and error."""
    try:
        ended = subprocess.run(
            [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=_KERAS_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "", "", f"Keras did not compute anything in {_KERAS_S:g} s"
    if ended.returncode:
        return "", "", (ended.stderr.strip().splitlines() or ["no message"])[-1]
    backend, device = json.loads(ended.stdout.strip().splitlines()[-1])
    return backend, device, ""


def _compute() -> tuple[str, str]:
    """Multiply two matrices with Keras; return its backend and where the product is."""
    keras: Any = import_module("keras")
    ones = keras.ops.ones((256, 256))
    product = keras.ops.matmul(ones, ones)
    if float(keras.ops.convert_to_numpy(product)[0, 0]) != 256.0:
        raise ArithmeticError("Keras has multiplied two matrices to something wrong")
    return str(keras.backend.backend()), str(getattr(product, "device", ""))


def _gpus() -> tuple[str, ...]:
    for command in _DRIVERS:
        if shutil.which(command[0]) is None:
            continue
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
        except subprocess.TimeoutExpired:
            return (f"{command[0]} does not answer",)
        return tuple(line.strip() for line in answer.stdout.splitlines() if line.strip())
    return ()


def _file_system(path: Path) -> str:
    """Return the kind of the file system of a path; empty if it is not known."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    above = [mount for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[1]))[2] if above else ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_compute()) + "\n")
