"""The command that starts the tasks of a job on all of its nodes: srun, jsrun, mpiexec, mpirun. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """How one batch job is divided.

    Parameters
    ----------
    nodes
        Nodes of the job.
    tasks_per_node
        Tasks on each node; each becomes one Dask worker.
    cores_per_node, gpus_per_node
        Of a node, to be divided among its tasks.
    threads
        Trainings at once in one worker.
    ahead
        Evaluations that are prepared for each of them meanwhile.
    whole_nodes
        Whether the site gives whole nodes and wants to hear of nothing smaller (LSF where ``jsrun`` is).
    """

    nodes: int = 1
    tasks_per_node: int = 1
    cores_per_node: int = 1
    gpus_per_node: int = 0
    threads: int = 1
    ahead: int = 0
    whole_nodes: bool = False

    @property
    def tasks(self) -> int:
        """Tasks of the whole job."""
        return self.nodes * self.tasks_per_node

    @property
    def cores_per_task(self) -> int:
        """Whole cores for each task, one at least."""
        return max(1, self.cores_per_node // self.tasks_per_node)

    @property
    def gpus_per_task(self) -> int:
        """GPUs that a task needs to see, one at least where the node has any."""
        return -(-self.gpus_per_node // self.tasks_per_node)


def _srun(shape: Shape) -> str:
    sizes = f"--nodes={shape.nodes} --ntasks={shape.tasks} --ntasks-per-node={shape.tasks_per_node}"
    # a worker that ends does not take the others with it
    return f"{sizes} --cpus-per-task={shape.cores_per_task} --kill-on-bad-exit=0 --unbuffered"


def _jsrun(shape: Shape) -> str:
    per_set = f"--tasks_per_rs 1 --cpu_per_rs {shape.cores_per_task} --gpu_per_rs {shape.gpus_per_task}"
    return f"--nrs {shape.tasks} --rs_per_host {shape.tasks_per_node} {per_set}"


def _mpiexec(shape: Shape) -> str:  # PALS (HPE Cray) and MPICH
    return f"-n {shape.tasks} --ppn {shape.tasks_per_node}"


def _mpirun(shape: Shape) -> str:  # Open MPI; it would bind each task to one core
    return f"-n {shape.tasks} --map-by ppr:{shape.tasks_per_node}:node --bind-to none"


LAUNCHERS: Mapping[str, Callable[[Shape], str]] = {
    "srun": _srun, "jsrun": _jsrun, "mpiexec": _mpiexec, "mpirun": _mpirun,
}  # fmt: skip


def launch_command(launcher: str, shape: Shape) -> str:
    """Return the launcher with the sizes of a job and the site's own options.

    Parameters
    ----------
    launcher
        Name of a launcher in `LAUNCHERS`, maybe with options; they come last, so that they count.
    shape
        Of the job.

    >>> launch_command("mpiexec --cpu-bind depth", Shape(nodes=2, tasks_per_node=4))
    'mpiexec -n 8 --ppn 4 --cpu-bind depth'
    """
    name, _, options = launcher.strip().partition(" ")
    return " ".join(filter(None, (name, LAUNCHERS[name](shape), options.strip())))


def launcher_name(launcher: str) -> str:
    """Return the name of a launcher that is given with options."""
    return shlex.split(launcher)[0] if launcher.strip() else ""
