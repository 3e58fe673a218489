"""Which GPU a process may see, for each vendor. Pure.

What a process sees is decided by one variable in its environment, before anything that knows GPUs is loaded. Launchers
set some of them, for one task or for all tasks of a node; here they are narrowed to a task's own share.
"""

from __future__ import annotations

from collections.abc import Mapping

from menndl_dask.environment import AHEAD, GPU_SHARE, GPU_VARIABLES
from menndl_dask.errors import ProfileError

CORES_TO_PREPARE = 3  # beside a GPU: one feeds it, one reads ahead, one prepares the next network

# Slurm without detection of GPUs sets the variables of all vendors. On AMD the lists of CUDA and HIP number what ROCR
# has left: with 3 in both of them no device is seen at all.
_ALL = (*GPU_VARIABLES.values(), "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def visible(environment: Mapping[str, str], vendor: str, gpus: int) -> list[str]:
    """Return the GPUs of this node that the launcher has left visible, by the names that it has given them.

    Parameters
    ----------
    environment
        Of the process.
    vendor
        ``nvidia``, ``amd`` or ``intel``.
    gpus
        How many the node has, where the launcher says nothing.

    >>> visible({"CUDA_VISIBLE_DEVICES": "2,3"}, "nvidia", 4), visible({}, "nvidia", 2)
    (['2', '3'], ['0', '1'])
    """
    listed = environment.get(GPU_VARIABLES[vendor], "")
    return [name.strip() for name in listed.split(",")] if listed else [str(number) for number in range(gpus)]


def share(devices: list[str], rank: int, tasks_per_gpu: int = 1) -> str:
    """Return the GPU of a task among those that are visible to it.

    Parameters
    ----------
    devices
        What `visible` returns; where it is a single one, the launcher has made the choice.
    rank
        Number of the task on its node.
    tasks_per_gpu
        How many tasks share a GPU.

    Raises
    ------
    ProfileError
        If there are more tasks than GPUs.

    >>> share(["0", "1", "2", "3"], 2), share(["0", "1"], 3, tasks_per_gpu=2), share(["3"], 1)
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


def grants(trainers_per_gpu: int, ahead: int) -> dict[str, str]:
    """Return what to set in the environment of a worker for its trainings to be several on a GPU.

    Parameters
    ----------
    trainers_per_gpu
        How many train at the same time; each may take as large a part of the GPU's memory.
    ahead
        How many more are prepared meanwhile.

    >>> grants(4, 1), grants(1, 0)
    ({'MENNDL_GPU_SHARE': '0.25', 'MENNDL_AHEAD': '1'}, {})
    """
    if trainers_per_gpu == 1 and not ahead:
        return {}
    return {GPU_SHARE: f"{1 / trainers_per_gpu:g}", **({AHEAD: str(ahead)} if ahead else {})}


def pinned(vendor: str, devices: list[str]) -> dict[str, str | None]:
    """Return what to set in the environment so that just these GPUs are seen; nothing for variables to be removed.

    >>> pinned("nvidia", ["2"])["CUDA_VISIBLE_DEVICES"]
    '2'
    """
    changes: dict[str, str | None] = dict.fromkeys(_ALL)
    changes[GPU_VARIABLES[vendor]] = ",".join(devices)
    if vendor == "intel":
        changes["ZE_FLAT_DEVICE_HIERARCHY"] = "FLAT"  # each tile is a device, numbered from 0
    return changes
