"""The launcher: the command that starts the tasks of a job on all of its nodes (srun, jsrun, mpiexec, mpirun). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobLayout:
    """The nodes of one batch job and their division into tasks.

    Parameters
    ----------
    nodes
        Number of nodes.
    tasks_per_node
        Number of tasks on each node. Each becomes one Dask worker.
    cores_per_node, gpus_per_node
        Cores and GPUs of one node, to be divided among its tasks.
    threads
        Number of trainings at the same time in one worker.
    whole_nodes
        Whether the batch system accepts sizes in whole nodes only (LSF with ``jsrun``).
    """

    nodes: int = 1
    tasks_per_node: int = 1
    cores_per_node: int = 1
    gpus_per_node: int = 0
    threads: int = 1
    whole_nodes: bool = False

    @property
    def tasks(self) -> int:
        """Number of tasks of the job."""
        return self.nodes * self.tasks_per_node

    @property
    def cores_per_task(self) -> int:
        """Number of whole cores of each task, at least one."""
        return max(1, self.cores_per_node // self.tasks_per_node)

    @property
    def gpus_per_task(self) -> int:
        """Number of GPUs that each task needs to see, at least one if the node has any."""
        return -(-self.gpus_per_node // self.tasks_per_node)


def _srun(layout: JobLayout) -> str:
    sizes = f"--nodes={layout.nodes} --ntasks={layout.tasks} --ntasks-per-node={layout.tasks_per_node}"
    # a worker that ends does not take the others with it
    return f"{sizes} --cpus-per-task={layout.cores_per_task} --kill-on-bad-exit=0 --unbuffered"


def _jsrun(layout: JobLayout) -> str:
    per_set = f"--tasks_per_rs 1 --cpu_per_rs {layout.cores_per_task} --gpu_per_rs {layout.gpus_per_task}"
    return f"--nrs {layout.tasks} --rs_per_host {layout.tasks_per_node} {per_set}"


def _mpiexec(layout: JobLayout) -> str:  # PALS (HPE Cray) and MPICH
    return f"-n {layout.tasks} --ppn {layout.tasks_per_node}"


def _mpirun(layout: JobLayout) -> str:  # Open MPI; it would bind each task to one core
    return f"-n {layout.tasks} --map-by ppr:{layout.tasks_per_node}:node --bind-to none"


LAUNCHERS: Mapping[str, Callable[[JobLayout], str]] = {
    "srun": _srun, "jsrun": _jsrun, "mpiexec": _mpiexec, "mpirun": _mpirun,
}  # fmt: skip


def launch_command(launcher: str, layout: JobLayout) -> str:
    """Return the launcher command for a job.

    Parameters
    ----------
    launcher
        Name of a launcher in `LAUNCHERS`, maybe with options. These come last, so that they override others.
    layout
        Layout of the job.

    >>> launch_command("mpiexec --cpu-bind depth", JobLayout(nodes=2, tasks_per_node=4))
    'mpiexec -n 8 --ppn 4 --cpu-bind depth'
    """
    name, _, options = launcher.strip().partition(" ")
    return " ".join(filter(None, (name, LAUNCHERS[name](layout), options.strip())))


def launcher_name(launcher: str) -> str:
    """Return the name of a launcher, without its options."""
    return shlex.split(launcher)[0] if launcher.strip() else ""
