"""The batch systems that dask-jobqueue knows: how each says a job of several nodes, and what is still queued. Pure.

dask-jobqueue writes the header of a job of one node. For more nodes and for GPUs its lines about sizes are rewritten
here, in place; whatever a profile adds or skips stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from menndl_dask.errors import ProfileError
from menndl_dask.launcher import Shape

Lines = list[str]

FOR_EVER = "for ever, since "
# the reasons of Slurm that do not pass by themselves, where one can say what to change
_FOR_EVER = {
    "PartitionTimeLimit": "the queue does not allow such a walltime",
    "PartitionNodeLimit": "the queue does not allow so many nodes",
    "PartitionConfig": "no node of the queue has so many cores or GPUs, or so much memory",
    "BadConstraints": "there are no such nodes",
}


@dataclass(frozen=True, slots=True)
class BatchSystem:
    """What differs between batch systems.

    Parameters
    ----------
    cluster
        Name of its class in dask-jobqueue.
    resize
        Rewrites the lines of a job's header for a shape.
    queued
        Command that prints a line for each job of the user, beginning with the job's number; of Slurm with its state
        and the reason of it.
    after
        Option of the submit command that lets a job wait for the end of another, with its number in place of ``{job}``.
    launcher
        What starts the tasks of a job where the profile names nothing; nothing: the tasks of one node start each other.
    many_nodes
        Whether a job may have several nodes.
    empty
        What `queued` says when it fails because there is no job.
    """

    cluster: str
    resize: Callable[[Lines, Shape], Lines]
    queued: tuple[str, ...]
    after: tuple[str, ...] = ()
    launcher: str = ""
    many_nodes: bool = False
    empty: str = "\0"

    def numbers(self, printed: str) -> set[str]:
        r"""Return the jobs' numbers in what `queued` has printed.

        >>> sorted(SYSTEMS["pbs"].numbers("123.server\n124[].server\n"))
        ['123', '124']
        """
        pattern = r"\d+\.\d+" if self.cluster == "HTCondorCluster" else r"\d+"
        return {found.group() for line in printed.splitlines() if (found := re.match(pattern, line.strip()))}

    def reasons(self, printed: str) -> dict[str, str]:
        r"""Return why jobs wait, by their numbers, as far as `queued` has printed it.

        >>> SYSTEMS["slurm"].reasons("12 RUNNING None\n13 PENDING PartitionTimeLimit\n14 PENDING None\n")
        {'13': 'PartitionTimeLimit: for ever, since the queue does not allow such a walltime'}
        """
        found = re.findall(r"^\s*(\d+) PENDING (?!None$)(.+?)\s*$", printed, re.MULTILINE)
        return {number: f"{why}: {FOR_EVER}{_FOR_EVER[why]}" if why in _FOR_EVER else why for number, why in found}


def _slurm(lines: Lines, shape: Shape) -> Lines:
    cores = shape.cores_per_node
    kept: Lines = []
    for line in lines:
        if line.startswith("#SBATCH --cpus-per-task="):
            cores = int(line.partition("=")[2])
        elif line != "#SBATCH -n 1":
            kept.append(line)
    sizes = [
        f"#SBATCH --nodes={shape.nodes}",
        f"#SBATCH --ntasks-per-node={shape.tasks_per_node}",
        f"#SBATCH --cpus-per-task={max(1, cores // shape.tasks_per_node)}",
    ]
    if shape.gpus_per_node:
        sizes.append(f"#SBATCH --gpus-per-node={shape.gpus_per_node}")
    return [*kept, *sizes]


def _pbs(lines: Lines, shape: Shape) -> Lines:
    def resized(line: str) -> str:
        many = re.sub(r"^(#PBS -l (?:select|nodes)=)\d+", rf"\g<1>{shape.nodes}", line)
        own = re.fullmatch(r"#PBS -l select=\d+:ncpus=\d+:mem=\d+\w+", many)  # what dask-jobqueue writes by itself
        return f"{many}:ngpus={shape.gpus_per_node}" if own and shape.gpus_per_node else many

    return [resized(line) for line in lines]


def _lsf(lines: Lines, shape: Shape) -> Lines:
    if shape.whole_nodes:
        sizes = ("#BSUB -n ", '#BSUB -R "span[', "#BSUB -M ")
        return [*(line for line in lines if not line.startswith(sizes)), f"#BSUB -nnodes {shape.nodes}"]

    def resized(line: str) -> str:
        if cores := re.fullmatch(r"#BSUB -n (\d+)", line):
            return f"#BSUB -n {int(cores.group(1)) * shape.nodes}"
        if "span[hosts=1]" in line and shape.nodes > 1:
            return f'#BSUB -R "span[ptile={shape.cores_per_node}]"'
        return line

    gpus = [f'#BSUB -gpu "num={shape.gpus_per_node}"'] if shape.gpus_per_node else []
    return [*(resized(line) for line in lines), *gpus]


def _as_it_is(lines: Lines, shape: Shape) -> Lines:
    return lines


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
        empty="No unfinished job found",
    ),
    "sge": BatchSystem("SGECluster", _as_it_is, ("qstat", "-u", "{user}"), ("-hold_jid", "{job}")),
    "oar": BatchSystem("OARCluster", _as_it_is, ("oarstat", "-u", "{user}"), ("-a", "{job}")),
    "moab": BatchSystem(
        "MoabCluster", _pbs, ("qselect", "-u", "{user}"), ("-l", "depend=afterany:{job}"), many_nodes=True,
    ),
    "htcondor": BatchSystem(
        "HTCondorCluster", _as_it_is, ("condor_q", "-format", "%d.", "ClusterId", "-format", "%d\\n", "ProcId"),
    ),
}  # fmt: skip


def resized_header(kind: str, header: str, shape: Shape, skip: Iterable[str] = (), extra: Iterable[str] = ()) -> str:
    """Return a job's header for jobs of this shape.

    Parameters
    ----------
    kind
        Batch system, a key of `SYSTEMS`.
    header
        What dask-jobqueue has written.
    shape
        Of the job.
    skip
        Texts; lines that contain one are left out (``job_directives_skip``).
    extra
        Lines at the end of the header that are the profile's own and stay as they are (``job_extra_directives``).

    Raises
    ------
    ProfileError
        If jobs of this kind cannot have several nodes.
    """
    system = SYSTEMS[kind]
    if shape.nodes > 1 and not system.many_nodes:
        many = ", ".join(name for name, known in SYSTEMS.items() if known.many_nodes)
        raise ProfileError(f"nodes_per_job: expected 1 for kind {kind}, got {shape.nodes}; several nodes: {many}")
    lines = header.splitlines()
    own = list(extra)
    count = len(lines) - len(own)
    sized = [line for line in system.resize(lines[:count], shape) if not any(text in line for text in skip)]
    return "\n".join([*sized, *lines[count:]])


def walltime_s(kind: str, walltime: str) -> float:
    """Return a batch system's time limit in seconds.

    >>> walltime_s("slurm", "1-02:30:00"), walltime_s("lsf", "02:30"), walltime_s("slurm", "30")
    (95400.0, 9000.0, 1800.0)

    Raises
    ------
    ProfileError
        If it cannot be read.
    """
    example = "hours:minutes in quotes, such as '02:00'"
    if kind != "lsf":
        example = "hours:minutes:seconds in quotes, such as '02:00:00'"
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime.strip())
    if found is None or (kind == "lsf" and walltime.count(":") > 1):
        raise ProfileError(f"jobqueue: walltime: expected {example}, got {walltime!r}")
    days, *parts = (None if part is None else int(part) for part in found.groups())
    numbers = [part for part in parts if part is not None]
    if days is not None or len(numbers) == 3:
        units = (3600, 60, 1)
    elif len(numbers) == 2:
        units = (60, 1, 0) if kind == "slurm" else (3600, 60, 0)
    else:
        units = (60, 0, 0) if kind in ("slurm", "lsf") else (1, 0, 0)
    return float((days or 0) * 86400 + sum(n * unit for n, unit in zip(numbers, units, strict=False)))
