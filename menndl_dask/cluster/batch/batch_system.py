"""The batch systems that dask-jobqueue supports: headers of jobs with several nodes, and commands for the queue. Pure.

dask-jobqueue writes the header of a job with one node. This module rewrites the lines about sizes for several nodes and
for GPUs. Lines that the profile adds or skips stay as they are. A batch system is one row of `SYSTEMS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from menndl_dask.cluster.batch.launcher import JobLayout
from menndl_dask.errors import ProfileError

Lines = list[str]

FOR_EVER = "for ever, since "
# reasons of Slurm for which a job never starts, and what to change
_FOR_EVER = {
    "PartitionTimeLimit": "the queue does not allow such a walltime",
    "PartitionNodeLimit": "the queue does not allow so many nodes",
    "PartitionConfig": "no node of the queue has so many cores or GPUs, or so much memory",
    "BadConstraints": "there are no such nodes",
}


@dataclass(frozen=True, slots=True)
class BatchSystem:
    """The differences between batch systems.

    Parameters
    ----------
    cluster
        Name of its cluster class in dask-jobqueue.
    resize
        Function that rewrites the lines of a job's header for a job layout; None if they stay.
    queued
        Command that prints one line for each job of the user, beginning with the job's number. For Slurm, the state and
        its reason follow.
    after
        Options of the submit command for a job that starts after another one has ended; ``{job}`` is its number.
    launcher
        Default launcher of the tasks of a job. Empty if `menndl_dask.cluster.node.worker_start` starts them, on one
        node only.
    many_nodes
        Whether a job can have several nodes.
    empty
        Error message of `queued` when there are no jobs.
    walltime
        Time limit of a job whose profile has none, as dask-jobqueue writes it; empty for no limit.
    """

    cluster: str
    resize: Callable[[Lines, JobLayout], Lines] | None
    queued: tuple[str, ...]
    after: tuple[str, ...] = ()
    launcher: str = ""
    many_nodes: bool = False
    empty: str = "\0"
    walltime: str = "00:30:00"

    def numbers(self, printed: str) -> set[str]:
        r"""Return the job numbers in the output of `queued`.

        >>> sorted(SYSTEMS["pbs"].numbers("123.server\n124[].server\n"))
        ['123', '124']
        """
        pattern = r"\d+\.\d+" if self.cluster == "HTCondorCluster" else r"\d+"
        return {found.group() for line in printed.splitlines() if (found := re.match(pattern, line.strip()))}

    def reasons(self, printed: str) -> dict[str, str]:
        r"""Return the reasons why jobs wait, by job number, from the output of `queued`.

        >>> SYSTEMS["slurm"].reasons("12 RUNNING None\n13 PENDING PartitionTimeLimit\n14 PENDING None\n")
        {'13': 'PartitionTimeLimit: for ever, since the queue does not allow such a walltime'}
        """
        found = re.findall(r"^\s*(\d+) PENDING (?!None$)(.+?)\s*$", printed, re.MULTILINE)
        return {number: f"{why}: {FOR_EVER}{_FOR_EVER[why]}" if why in _FOR_EVER else why for number, why in found}


def _slurm(lines: Lines, layout: JobLayout) -> Lines:
    prefix = "#SBATCH --cpus-per-task="
    given = [int(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]
    cores = given[-1] if given else layout.cores_per_node
    sizes = [
        f"#SBATCH --nodes={layout.nodes}",
        f"#SBATCH --ntasks-per-node={layout.tasks_per_node}",
        f"{prefix}{max(1, cores // layout.tasks_per_node)}",
    ]
    if layout.gpus_per_node:
        sizes.append(f"#SBATCH --gpus-per-node={layout.gpus_per_node}")
    return [*(line for line in lines if line != "#SBATCH -n 1" and not line.startswith(prefix)), *sizes]


def _pbs(lines: Lines, layout: JobLayout) -> Lines:
    def resized(line: str) -> str:
        many = re.sub(r"^(#PBS -l (?:select|nodes)=)\d+", rf"\g<1>{layout.nodes}", line)
        own = re.fullmatch(r"#PBS -l select=\d+:ncpus=\d+:mem=\d+\w+", many)  # not of the profile
        return f"{many}:ngpus={layout.gpus_per_node}" if own and layout.gpus_per_node else many

    return [resized(line) for line in lines]


def _lsf(lines: Lines, layout: JobLayout) -> Lines:
    if layout.whole_nodes:
        sizes = ("#BSUB -n ", '#BSUB -R "span[', "#BSUB -M ")
        return [*(line for line in lines if not line.startswith(sizes)), f"#BSUB -nnodes {layout.nodes}"]

    def resized(line: str) -> str:
        if cores := re.fullmatch(r"#BSUB -n (\d+)", line):
            return f"#BSUB -n {int(cores.group(1)) * layout.nodes}"
        if "span[hosts=1]" in line and layout.nodes > 1:
            return f'#BSUB -R "span[ptile={layout.cores_per_node}]"'
        return line

    gpus = [f'#BSUB -gpu "num={layout.gpus_per_node}"'] if layout.gpus_per_node else []
    return [*(resized(line) for line in lines), *gpus]


SYSTEMS: Mapping[str, BatchSystem] = {
    "slurm": BatchSystem(
        "SLURMCluster", _slurm, ("squeue", "--noheader", "--user={user}", "--format=%A %T %r"),
        ("--dependency=afterany:{job}",), launcher="srun", many_nodes=True,
    ),
    "pbs": BatchSystem(
        "PBSCluster", _pbs, ("qselect", "-u", "{user}"), ("-W", "depend=afterany:{job}"), many_nodes=True,
    ),
    "lsf": BatchSystem(
        "LSFCluster", _lsf, ("bjobs", "-noheader", "-o", "jobid"), ("-w", "ended({job})"), many_nodes=True,
        empty="No unfinished job found", walltime="00:30",
    ),
    "sge": BatchSystem("SGECluster", None, ("qstat", "-u", "{user}"), ("-hold_jid", "{job}")),
    "oar": BatchSystem("OARCluster", None, ("oarstat", "-u", "{user}"), ("-a", "{job}")),
    "moab": BatchSystem(
        "MoabCluster", _pbs, ("qselect", "-u", "{user}"), ("-l", "depend=afterany:{job}"), many_nodes=True,
    ),
    "htcondor": BatchSystem(
        "HTCondorCluster", None, ("condor_q", "-format", "%d.", "ClusterId", "-format", "%d\\n", "ProcId"),
        walltime="",
    ),
}  # fmt: skip


def resized_header(
    kind: str, header: str, layout: JobLayout, skip: Sequence[str] = (), extra: Sequence[str] = ()
) -> str:
    """Return the header of a job script, which dask-jobqueue writes for one node, with the sizes of a job layout.

    Lines that contain a text of `skip` (``job_directives_skip``) are left out. The lines at the end that the profile
    adds, `extra` (``job_extra_directives``), stay as they are. Raises `ProfileError` if jobs of the batch system cannot
    have several nodes.
    """
    system = SYSTEMS[kind]
    if layout.nodes > 1 and not system.many_nodes:
        many = ", ".join(name for name, known in SYSTEMS.items() if known.many_nodes)
        raise ProfileError(f"nodes_per_job: expected 1 for kind {kind}, got {layout.nodes}; several nodes: {many}")
    lines = header.splitlines()
    count = len(lines) - len(extra)
    sized = lines[:count] if system.resize is None else system.resize(lines[:count], layout)
    return "\n".join([*(line for line in sized if not any(text in line for text in skip)), *lines[count:]])


def with_quoted(header: str, path: str) -> str:
    r"""Return the header of a job script with quotes around the words that begin with a path that has spaces.

    >>> with_quoted("#SBATCH -J mine\n#SBATCH -e /my dir/mine-%J.err", "/my dir")
    '#SBATCH -J mine\n#SBATCH -e "/my dir/mine-%J.err"'
    """
    if re.fullmatch(r"\S*", path):
        return header
    return re.sub(rf"{re.escape(path)}\S*", r'"\g<0>"', header)


def walltime_s(kind: str, walltime: str) -> float:
    """Return the time limit of a batch system in seconds; raises `ProfileError` if it cannot be read.

    >>> walltime_s("slurm", "1-02:30:00"), walltime_s("lsf", "02:30"), walltime_s("slurm", "30")
    (95400.0, 9000.0, 1800.0)
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime.strip())
    if found is None or (kind == "lsf" and walltime.count(":") > 1):
        example = "hours:minutes in quotes, such as '02:00'"
        if kind != "lsf":
            example = "hours:minutes:seconds in quotes, such as '02:00:00'"
        raise ProfileError(f"jobqueue: walltime: expected {example}, got {walltime!r}")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None or len(numbers) == 3:
        units = [3600, 60, 1]
    elif len(numbers) == 2:
        units = [60, 1] if kind == "slurm" else [3600, 60]
    else:
        units = [60] if kind in ("slurm", "lsf") else [1]
    return float(int(days or 0) * 86400 + sum(n * unit for n, unit in zip(numbers, units, strict=False)))
