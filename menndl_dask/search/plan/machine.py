"""The machine that networks are trained on: cores, memory, GPUs and workers. Runs on the driver."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import psutil

from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.local_workers import LocalWorkers
from menndl_dask.cluster.profile import Local, Profile

_GB = 1e9
_DRIVER_BYTES = 1.0e9  # of the driver, the scheduler and what else runs
_WORKER_BYTES = 0.5e9  # of a worker and its trainer, which holds Keras, beside the training
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Machine:
    """What networks are trained on.

    Parameters
    ----------
    workers
        Trainings at the same time.
    cores
        CPU cores of a training.
    memory_bytes
        Memory that each training may use; None if it is not known.
    gpu_bytes
        Memory of a GPU that each training may use; None without GPUs, or if it is not known.
    gpus
        Whether trainings run on GPUs.
    is_this
        Whether the workers run on this machine, so that a training can be timed here.
    may_change_workers
        Whether fewer workers may be planned, so that each has more memory.
    per_node
        Trainings at the same time on a node; 0 if all run on one machine.
    described
        Its GPUs and their workers in words, if they are of this machine.
    """

    workers: int
    cores: int = 1
    memory_bytes: float | None = None
    gpu_bytes: float | None = None
    gpus: bool = False
    is_this: bool = True
    may_change_workers: bool = False
    per_node: int = 0
    described: str = ""

    @property
    def nodes(self) -> int:
        """Machines that the trainings run on."""
        return -(-self.workers // self.per_node) if self.per_node else 1

    @classmethod
    def of(cls, profile: Profile, workers: int | None = None, backend: str | None = None) -> Self:
        """Return the machine of a cluster profile, with a number of workers and a backend that the user gave."""
        if isinstance(profile, Local):
            local = LocalWorkers(replace(profile, workers=workers or profile.workers), backend)
            count, cores = local.count, len(os.sched_getaffinity(0))
            gpu = None if local.gpus is None else local.gpus.least_bytes
            return cls(
                count,
                max(1, cores // (count * local.most)),
                share_of(available_bytes(), count * local.most),
                None if gpu is None else gpu / local.trainers_per_gpu,
                local.gpus is not None,
                may_change_workers=workers is None and profile.workers is None and local.gpus is None,
                described="" if local.gpus is None else local.text(),
            )
        if isinstance(profile, Site):
            return cls._of_site(profile, workers)
        return cls(workers or 1, memory_bytes=None, is_this=False)

    @classmethod
    def _of_site(cls, profile: Site, workers: int | None) -> Self:
        trainings = max(1, profile.gpus_per_node * profile.trainers_per_gpu or profile.workers_per_node)
        jobs = profile.jobs if isinstance(profile.jobs, int) else profile.jobs[1]
        cores = int(profile.jobqueue.get("cores") or 1)
        memory = profile.jobqueue.get("memory")
        return cls(
            workers or jobs * profile.nodes_per_job * trainings,
            max(1, cores // trainings),
            None if memory is None else max(_GB, _bytes(str(memory)) / trainings - _WORKER_BYTES),
            gpus=profile.gpus_per_node > 0,
            is_this=False,
            per_node=trainings,
        )

    def with_workers(self, workers: int) -> Self:
        """Return this machine with another number of workers that share its memory and its cores."""
        if self.memory_bytes is None:
            return replace(self, workers=workers)
        whole = (self.memory_bytes + _WORKER_BYTES) * self.workers
        return replace(
            self,
            workers=workers,
            cores=max(1, self.cores * self.workers // workers),
            memory_bytes=whole / workers - _WORKER_BYTES,
        )

    def most_workers(self, memory_gb: float | None) -> int:
        """Return the number of workers, fewer if the memory does not suffice for that limit of each."""
        machine = self
        while (
            machine.may_change_workers
            and machine.workers > 1
            and machine.memory_bytes is not None
            and machine.memory_bytes < (memory_gb or 0.0) * _GB
        ):
            machine = machine.with_workers(machine.workers - 1)
        return machine.workers


def share_of(available: float, workers: int) -> float:
    """Return the bytes that each of some trainings may use, of those that are available now.

    >>> share_of(16e9, 2) / 1e9
    7.0
    """
    return max(0.5e9, (available - _DRIVER_BYTES) / workers - _WORKER_BYTES)


def available_bytes() -> float:
    """Return the bytes of memory that this process and its children can still take."""
    free = float(psutil.virtual_memory().available)
    try:  # of a container
        most = (_CGROUP / "memory.max").read_text().strip()
        if most.isdigit():
            free = min(free, int(most) - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0.0, free)


def _bytes(text: str) -> float:
    """Return the bytes of a text such as 64GB.

    >>> _bytes("64GB"), _bytes("1 GiB")
    (64000000000.0, 1073741824.0)
    """
    from dask.utils import parse_bytes

    return float(parse_bytes(text.replace(" ", "")))
