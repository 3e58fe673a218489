"""A cluster on the nodes of the batch job in which this process runs. Runs on the driver.

For sites that allow few jobs, or where compute nodes cannot connect to login nodes. Driver, scheduler and workers share
one allocation. A "job" of the cluster is a step of the allocation, which the launcher of the site starts.
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

from menndl_dask.cluster.batch.dask_jobqueue import Job, JobQueueCluster, LocalJob
from menndl_dask.cluster.batch.multi_node_cluster import MultiNodeCluster, MultiNodeJob
from menndl_dask.cluster.batch.site import Site
from menndl_dask.errors import ProfileError

_END_S = 20.0  # seconds for a launcher to end its tasks


class Step(MultiNodeJob, LocalJob):  # type: ignore[misc]  # dask-jobqueue has no types
    """A step of the allocation: the launcher and its workers, as a child process."""

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
        """End the launcher, which ends its tasks."""
        if self.is_alive and self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), _END_S)
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        self.status = Status.closed

    @property
    def is_alive(self) -> bool:
        """Whether the launcher is running."""
        return self._process is not None and self._process.returncode is None


class AllocationCluster(MultiNodeCluster):
    """A Dask cluster on the nodes of this batch job."""

    job_cls = Step
    _asks_batch_system = False

    def __init__(self, *arguments: Any, site: Site, **keywords: Any) -> None:
        # keywords for the batch system were used when this job was submitted
        known = {name for cls in (Job, JobQueueCluster) for name in inspect.signature(cls.__init__).parameters}
        accepted = {name: value for name, value in keywords.items() if name in known | {"layout"}}
        accepted["layout"] = site.layout(allocated_nodes(site.system, os.environ))
        super().__init__(*arguments, site=site, **accepted)

    async def _queued(self, own: Set[str]) -> Set[str]:
        return {str(job.job_id) for job in self.workers.values() if job.is_alive}


def allocated_nodes(system: str, environment: Mapping[str, str]) -> int:
    """Return the number of nodes of the batch job in which this process runs; raises `ProfileError` without a job.

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
        # with jsrun, the driver runs on a batch or login node
        working = [host for host in hosts if not re.match(r"batch|login", host)]
        return len(set(working or hosts))
    if system in ("sge", "oar", "htcondor"):
        return 1
    raise ProfileError(
        f"kind allocation: expected to run inside a job of {system}, got none: submit the driver, or use --detach"
    )
