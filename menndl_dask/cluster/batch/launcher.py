"""The launcher: the command that starts the tasks of a job on all of its nodes (srun, jsrun, mpiexec, mpirun). Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobLayout:
    """The nodes of one batch job and their division into tasks, each of which becomes one Dask worker."""

    nodes: int = 1
    tasks_per_node: int = 1
    cores_per_node: int = 1  # to be divided among the tasks, as the GPUs
    gpus_per_node: int = 0
    threads: int = 1  # number of trainings at the same time in one worker
    whole_nodes: bool = False  # whether the batch system accepts sizes in whole nodes only (LSF with jsrun)

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


# options of each launcher for a layout
LAUNCHERS: Mapping[str, str] = {
    # not to kill on a bad exit: a worker that ends does not take the others with it
    "srun": "--nodes={0.nodes} --ntasks={0.tasks} --ntasks-per-node={0.tasks_per_node} "
    "--cpus-per-task={0.cores_per_task} --kill-on-bad-exit=0 --unbuffered",
    "jsrun": "--nrs {0.tasks} --rs_per_host {0.tasks_per_node} --tasks_per_rs 1 "
    "--cpu_per_rs {0.cores_per_task} --gpu_per_rs {0.gpus_per_task}",
    # PALS (HPE Cray) and MPICH
    "mpiexec": "-n {0.tasks} --ppn {0.tasks_per_node}",
    # Open MPI, which would bind each task to one core
    "mpirun": "-n {0.tasks} --map-by ppr:{0.tasks_per_node}:node --bind-to none",
}


def launch_command(launcher: str, layout: JobLayout) -> str:
    """Return the launcher command for a job; own options of the launcher come last, so that they override others.

    >>> launch_command("mpiexec --cpu-bind depth", JobLayout(nodes=2, tasks_per_node=4))
    'mpiexec -n 8 --ppn 4 --cpu-bind depth'
    """
    name, *options = shlex.split(launcher)
    return " ".join([name, LAUNCHERS[name].format(layout), *map(shell_word, options)])


def launcher_name(launcher: str) -> str:
    """Return the name of a launcher, without its options; empty without one, and if its quotes are not closed."""
    try:
        return next(iter(shlex.split(launcher)), "")
    except ValueError:
        return ""


def shell_word(text: str) -> str:
    r"""Return a text as one word of a shell, in which only variables such as ``$TMPDIR`` have a meaning.

    >>> print(shell_word("/opt/env/bin/python"), shell_word("$TMPDIR/my dir"), shell_word('$(reboot); "x"'))
    /opt/env/bin/python "$TMPDIR/my dir" "\$(reboot); \"x\""
    """
    if re.fullmatch(r"(~/)?[\w@%+=:,./-]+", re.sub(r"<[\w ]+>", "_", text), re.ASCII):  # <key>: to be filled in
        return text
    text = re.sub(r"^~/", "$HOME/", text)
    return '"' + re.sub(r'(["\\`]|\$(?!\w|\{\w+\}))', r"\\\1", text) + '"'

