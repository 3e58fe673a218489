"""Environment variables that decide which GPUs a process sees, for each vendor. Pure.

They must be set before a library that uses GPUs is loaded. Launchers set some of them, for one task or for all tasks of
a node. This module restricts them to the GPUs of one task.
"""

from __future__ import annotations

from collections.abc import Mapping

from menndl_dask.environment import GPU_SHARE, GPU_VARIABLES, USABLE
from menndl_dask.errors import ProfileError

# Slurm without detection of GPUs sets the variables of all vendors. On AMD, the indices in the lists of CUDA and HIP
# count the devices that ROCR leaves visible: with 3 in both, no device is visible.
_ALL = (*GPU_VARIABLES.values(), "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def visible(environment: Mapping[str, str], vendor: str, gpus: int) -> list[str]:
    """Return the names of the GPUs that are visible on this node: all of its `gpus` if no variable says which.

    >>> visible({"CUDA_VISIBLE_DEVICES": "2,3"}, "nvidia", 4), visible({}, "nvidia", 2)
    (['2', '3'], ['0', '1'])
    """
    listed = environment.get(GPU_VARIABLES[vendor], "")
    return [name.strip() for name in listed.split(",")] if listed else [str(number) for number in range(gpus)]


def assigned_gpu(devices: list[str], rank: int, tasks_per_gpu: int = 1) -> str:
    """Return the GPU of one task, by the number of the task on its node; raises `ProfileError` if there is none.

    `devices` are the visible GPUs; a single one was chosen by the launcher.

    >>> assigned_gpu(["0", "1", "2", "3"], 2), assigned_gpu(["0", "1"], 3, tasks_per_gpu=2), assigned_gpu(["3"], 1)
    ('2', '1', '3')
    """
    if len(devices) == 1:
        return devices[0]
    place = rank // tasks_per_gpu
    if place >= len(devices):
        raise ProfileError(
            f"task {rank} of this node: expected a GPU for it, got only {len(devices)} visible: {', '.join(devices)}; "
            "does gpus_per_node in the profile agree with the site?"
        )
    return devices[place]


def hidden_gpus() -> dict[str, str]:
    """Return the environment variables that hide the GPUs of all vendors."""
    # ROCm and CUDA take no device from the first index on that they do not have
    return {**dict.fromkeys((*_ALL,), "-1"), "ZE_AFFINITY_MASK": "", "ONEAPI_DEVICE_SELECTOR": "*:cpu"}


def gpu_share_variables(trainers_per_gpu: int) -> dict[str, str]:
    """Return the environment variables of a worker on a shared GPU: each training may use an equal part of its memory.

    >>> gpu_share_variables(4), gpu_share_variables(1)
    ({'MENNDL_GPU_SHARE': '0.25'}, {})
    """
    return {GPU_SHARE: f"{1 / trainers_per_gpu:g}"} if trainers_per_gpu > 1 else {}


def usable_bytes(memory_bytes: float, trainers_per_gpu: int) -> float:
    """Return what a training may use of a GPU's memory, of which the contexts of processes take a part.

    >>> usable_bytes(80e9, 2) / 1e9
    36.0
    """
    return USABLE * memory_bytes / trainers_per_gpu


def gpu_visibility_variables(vendor: str, devices: list[str]) -> dict[str, str | None]:
    """Return the environment variables that make only these GPUs visible. None for a variable to be removed.

    >>> gpu_visibility_variables("nvidia", ["2"])["CUDA_VISIBLE_DEVICES"]
    '2'
    """
    changes: dict[str, str | None] = dict.fromkeys(_ALL)
    changes[GPU_VARIABLES[vendor]] = ",".join(devices)
    if vendor == "intel":
        changes["ZE_FLAT_DEVICE_HIERARCHY"] = "FLAT"  # each tile is a device, numbered from 0
    return changes
