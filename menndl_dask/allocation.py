"""Workers on the nodes of the batch job that this process runs in, started by the site's launcher. Runs on the driver.

For sites that allow few jobs, or whose compute nodes cannot reach the login nodes: driver, scheduler and workers share
one allocation, and a "job" is a step of it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import signal
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from distributed.core import Status

from menndl_dask.batch import GroupCluster, GroupJob
from menndl_dask.errors import ProfileError
from menndl_dask.jobqueue import Job, JobQueueCluster, LocalJob
from menndl_dask.site import Site

_PATIENCE_S = 20.0  # for a launcher to end its tasks


class Step(GroupJob, LocalJob):  # type: ignore[misc]  # dask-jobqueue has no types
    """A step of the allocation: the launcher with its workers, a child of this process."""

    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the launcher."""
        log = Path(self.log_directory) / f"{self.name}.out"
        with log.open("ab") as printed:
            self._process = await asyncio.create_subprocess_exec(
                "bash", "-c", self.job_script(), stdin=asyncio.subprocess.DEVNULL, stdout=printed, stderr=printed,
                start_new_session=True,
            )  # fmt: skip
        self.job_id = str(self._process.pid)
        self.status = Status.running

    async def close(self) -> None:
        """End the launcher, and with it its tasks."""
        if self.is_alive and self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), _PATIENCE_S)
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        self.status = Status.closed

    @property
    def is_alive(self) -> bool:
        """Whether the launcher runs."""
        return self._process is not None and self._process.returncode is None


class AllocationCluster(GroupCluster):
    """Workers on the nodes of this batch job."""

    job_cls = Step

    def __init__(self, *arguments: Any, site: Site, **keywords: Any) -> None:
        # what is meant for the batch system has been said to it already
        known = {name for cls in (Job, JobQueueCluster) for name in inspect.signature(cls.__init__).parameters}
        accepted = {name: value for name, value in keywords.items() if name in known | {"shape"}}
        accepted["shape"] = site.shape(allocated_nodes(site.system, os.environ))
        super().__init__(*arguments, site=site, **accepted)

    def _pause_s(self) -> float:
        return 0.0  # nobody has to be asked

    async def _queued(self, own: Set[str]) -> Set[str]:
        return {str(job.job_id) for job in self.workers.values() if job.is_alive}


def allocated_nodes(system: str, environment: Mapping[str, str]) -> int:
    """Return how many nodes the batch job has that this process runs in.

    Raises
    ------
    ProfileError
        If it does not run in a job of that batch system.

    >>> allocated_nodes("slurm", {"SLURM_JOB_NUM_NODES": "3"})
    3
    >>> allocated_nodes("lsf", {"LSB_MCPU_HOSTS": "batch5 1 a01n01 42 a01n02 42"})
    2
    """
    if system == "slurm" and "SLURM_JOB_NUM_NODES" in environment:
        return int(environment["SLURM_JOB_NUM_NODES"])
    if system in ("pbs", "moab") and "PBS_NODEFILE" in environment:
        return len(set(Path(environment["PBS_NODEFILE"]).read_text().split()))
    if system == "lsf" and "LSB_MCPU_HOSTS" in environment:
        hosts = environment["LSB_MCPU_HOSTS"].split()[::2]
        # where there is jsrun, the driver has a node of its own
        working = [host for host in hosts if not re.match(r"batch|login", host)]
        return len(set(working or hosts))
    if system in ("sge", "oar", "htcondor"):
        return 1
    raise ProfileError(
        f"kind allocation: expected to run inside a job of {system}, got none: submit the driver, or use --detach"
    )
