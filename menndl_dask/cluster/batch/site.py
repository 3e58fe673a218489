"""A site: the profile of a batch system, its nodes and their GPUs. Pure.

The keywords of dask-jobqueue stay as they are, under ``jobqueue``; ``cores`` and ``memory`` are those of one node, as
in dask-jobqueue, whose jobs have one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from menndl_dask.cluster.batch.batch_system import SYSTEMS, walltime_s
from menndl_dask.cluster.batch.launcher import LAUNCHERS, JobLayout, launcher_name
from menndl_dask.environment import GPU_VENDORS
from menndl_dask.errors import ProfileError
from menndl_dask.validation import (
    FLAG,
    PORT_OR_NONE,
    Check,
    check_keys,
    check_values,
    checked,
    integer,
    number,
    one_of,
    read,
    schema,
    text,
)

ALLOCATION = "allocation"
KINDS = (*SYSTEMS, ALLOCATION)
PER_GPU, PER_NODE = "per_gpu", "per_node"
_RETIRE_S, _RETIRE_SHARE = 600.0, 0.1
_COUNT = integer(1)


def _pair(of: Check, expected: str) -> Check:
    """Return the check for two values in order."""

    def accepts(value: Any) -> bool:
        is_pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(of.accepts, value))
        return is_pair and bool(value[0] <= value[1])

    return Check(expected, accepts, {"type": "array", "items": dict(of.schema), "minItems": 2, "maxItems": 2})


_BOUNDS = _pair(integer(0), "the least and the largest number, such as [1, 8]")
_JOBS = Check(
    f"{_COUNT.expected}, or {_BOUNDS.expected}",
    lambda value: _COUNT.accepts(value) or _BOUNDS.accepts(value),
    {"anyOf": [dict(_COUNT.schema), dict(_BOUNDS.schema)]},
)
_PORTS = _pair(integer(1, 65535), "two ports, such as [10000, 10400]")
_LAUNCHER = Check(
    f"one of {', '.join(LAUNCHERS)}, maybe with options, or an empty text",
    lambda value: isinstance(value, str) and (not value.strip() or launcher_name(value) in LAUNCHERS),
    {"type": "string"},
)
_TEXTS = Check(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
    {"type": "array", "items": {"type": "string"}},
)
_TEXTS_OR_MAPPING = Check(
    _TEXTS.expected,
    lambda value: isinstance(value, Mapping) or _TEXTS.accepts(value),
    {"anyOf": [dict(_TEXTS.schema), {"type": "object"}]},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keywords:
    """Keywords of dask-jobqueue whose values are checked; it knows others too."""

    cores: int | None = checked(integer(1), None)
    memory: str | None = checked(text("a text such as 64GB", r"\d+(\.\d+)?\s*([kKmMgGtTpP][iI]?)?[bB]?"), None)
    walltime: str | None = checked(text("hours:minutes:seconds in quotes, such as '02:00:00'"), None)
    account: str | None = checked(text(), None)
    project: str | None = checked(text(), None)
    queue: str | None = checked(text(), None)
    interface: str | None = checked(text(), None)
    local_directory: str | None = checked(text(), None)
    log_directory: str | None = checked(text(), None)
    python: str | None = checked(text(), None)
    job_extra_directives: Sequence[str] | Mapping[str, str] | None = checked(_TEXTS_OR_MAPPING, None)
    job_script_prologue: Sequence[str] | None = checked(_TEXTS, None)
    job_directives_skip: Sequence[str] | None = checked(_TEXTS, None)
    worker_extra_args: Sequence[str] | None = checked(_TEXTS, None)


_KEYWORDS = Check(
    "keywords of dask-jobqueue with their values",
    lambda value: isinstance(value, Mapping),
    {**schema(_Keywords), "additionalProperties": True},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A batch system whose jobs hold the workers.

    Parameters
    ----------
    kind
        ``slurm``, ``pbs``, …: this process submits batch jobs; ``allocation``: this process runs in a batch job, and
        the workers start on the nodes of that job.
    batch
        Batch system of the allocation, for kind ``allocation`` only.
    jobs
        Number of jobs; or two numbers, between which the number adapts to the evaluations.
    nodes_per_job
        Number of nodes of one job.
    gpus_per_node, gpu_vendor
        Number of GPUs of one node, and their vendor.
    workers
        ``per_gpu``; or ``per_node``: one worker on each node, which keeps a trainer on each GPU over one connection.
    workers_per_node
        Number of workers on each node, for nodes without GPUs.
    trainers_per_gpu
        Number of networks that are trained on one GPU at the same time, if one does not use it fully.
    launcher
        Command that starts the workers on all nodes: ``srun``, ``jsrun``, ``mpiexec`` or ``mpirun``, maybe with
        options of the site. Empty if none is needed.
    retire_s
        Seconds before the end of a job at which its workers stop accepting evaluations; by default a tenth of the
        walltime, at most ten minutes.
    tls
        Whether connections are encrypted and authenticated on both sides, with credentials made for this cluster.
    dashboard_port
        Port of the Dask dashboard on the loopback address; None for no dashboard.
    ports
        First and last port that the site allows; by default any port.
    shared_directory
        Folder on a file system that all nodes share, for the credentials and the output of jobs.
    jobqueue
        Keywords of dask-jobqueue, unchanged.
    driver
        Keywords of dask-jobqueue for the job of a detached driver; they override those in ``jobqueue``.
    file
        Name of the profile, for messages.
    """

    kind: str
    jobqueue: Mapping[str, Any] = checked(_KEYWORDS)
    batch: str | None = checked(one_of(SYSTEMS), None)
    jobs: int | tuple[int, int] = checked(_JOBS, 1)
    nodes_per_job: int = checked(_COUNT, 1)
    gpus_per_node: int = checked(integer(0), 0)
    gpu_vendor: str | None = checked(one_of(GPU_VENDORS), None)
    workers: str = checked(one_of((PER_GPU, PER_NODE)), PER_GPU)
    workers_per_node: int = checked(_COUNT, 1)
    trainers_per_gpu: int = checked(_COUNT, 1)
    launcher: str | None = checked(_LAUNCHER, None)
    retire_s: float | None = checked(number(least=0), None)
    tls: bool = checked(FLAG, True)
    dashboard_port: int | None = checked(PORT_OR_NONE, 8787)
    ports: tuple[int, int] | None = checked(_PORTS, None)
    shared_directory: str = checked(text(), "~/.menndl")
    driver: Mapping[str, Any] = checked(_KEYWORDS, default_factory=dict)
    file: str = "profile"

    @property
    def system(self) -> str:
        """The batch system, also for an allocation."""
        return self.batch or self.kind

    @property
    def cores(self) -> int:
        """Cores of a node."""
        return int(self.jobqueue["cores"])

    @property
    def walltime_s(self) -> float | None:
        """Time limit of a job in seconds; None without one."""
        walltime = self.jobqueue.get("walltime")
        return None if walltime is None else walltime_s(self.system, walltime)

    @property
    def retirement_s(self) -> float:
        """Seconds before the end of a job at which its workers retire."""
        if self.retire_s is not None:
            return self.retire_s
        return min(_RETIRE_S, _RETIRE_SHARE * (self.walltime_s or math.inf))

    @property
    def launch(self) -> str:
        """The launcher with its options; empty without one."""
        return SYSTEMS[self.system].launcher if self.launcher is None else self.launcher

    @property
    def directory(self) -> Path:
        """The shared directory."""
        return Path(os.path.expandvars(self.shared_directory)).expanduser()

    def layout(self, nodes: int | None = None) -> JobLayout:
        """Return the nodes of a job, by default `nodes_per_job`, and their division into workers."""
        slots = self.gpus_per_node * self.trainers_per_gpu
        per_node = self.workers == PER_NODE and slots > 0
        return JobLayout(
            nodes=nodes or self.nodes_per_job,
            tasks_per_node=1 if per_node else slots or self.workers_per_node,
            cores_per_node=self.cores,
            gpus_per_node=self.gpus_per_node,
            threads=slots if per_node else 1,
            whole_nodes=launcher_name(self.launch) == "jsrun",
        )

    def jobs_for(self, workers: int) -> int:
        """Return the number of jobs that are needed for a number of workers."""
        return math.ceil(workers / self.layout().tasks)


# made from the other keys, or of no use in a file
_NOT_YOURS = {
    "processes": "gpus_per_node or workers_per_node says how many workers there are",
    "worker_command": "it is fixed",
    "n_workers": "jobs says how many there are",
    "security": "tls says whether connections are encrypted",
    "shared_temp_directory": "shared_directory says where",
    **dict.fromkeys(("loop", "asynchronous", "scheduler_cls", "job_cls", "scheduler", "protocol"), "it is fixed"),
}


def check_site(file: str, kind: str, values: Mapping[str, Any]) -> Site:
    """Return the site of a profile: its name for messages, one of `KINDS`, and its other keys.

    Raises
    ------
    ProfileError
        If a key is unknown, or a value is not as expected.
    """
    known = [entry.name for entry in fields(Site) if entry.name not in ("kind", "file")]
    hint = f" for kind {kind}; known are {', '.join(known)}"
    keywords = {entry.name for entry in fields(_Keywords)}
    if misplaced := next((key for key in values if key in keywords), None):
        raise ProfileError(f"{file}: unknown key {misplaced!r}{hint}; it belongs under jobqueue")
    check_keys(values, known, file, ProfileError, hint)
    site = read(Site, {"jobqueue": {}, **values, "kind": kind, "file": file}, file, ProfileError)
    _check_sense(file, site, values)
    for where, given in (("jobqueue", site.jobqueue), ("driver", site.driver)):
        # dask-jobqueue checks the names when the cluster is made
        for key in given:
            if key in _NOT_YOURS:
                raise ProfileError(f"{file}: {where}: {key}: not to be given here: {_NOT_YOURS[key]}")
        check_values(_Keywords, given, f"{file}: {where}", ProfileError)
    for key in ("cores", "memory"):
        if key not in site.jobqueue:
            found = get_close_matches(key, map(str, site.jobqueue), n=1)
            misspelt = f", but {found[0]!r}" if found else ""
            raise ProfileError(f"{file}: jobqueue: {key}: expected that of a node, got none{misspelt}")
    try:
        walltime = site.walltime_s
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from None
    if walltime is not None and site.retirement_s >= walltime:
        expected = f"expected less than the walltime of {walltime:g} s"
        raise ProfileError(f"{file}: retire_s: {expected}, got {site.retirement_s:g}")
    return site


def _check_sense(file: str, site: Site, given: Mapping[str, Any]) -> None:
    """Compare the keys with each other."""
    if (site.kind == ALLOCATION) != (site.batch is not None):
        got = "none" if site.batch is None else repr(site.batch)
        wanted = "the batch system of the allocation" if site.kind == ALLOCATION else "none but for kind allocation"
        raise ProfileError(f"{file}: batch: expected {wanted}, got {got}")
    if (site.gpus_per_node > 0) != (site.gpu_vendor is not None):
        raise ProfileError(
            f"{file}: expected gpus_per_node and gpu_vendor together, got {site.gpus_per_node} and {site.gpu_vendor}"
        )
    misplaced = ("workers_per_node",) if site.gpus_per_node else ("workers", "trainers_per_gpu")
    for key in misplaced:
        if key in given:
            nodes = "with" if site.gpus_per_node else "without"
            raise ProfileError(f"{file}: {key}: expected nothing for nodes {nodes} GPUs, got {given[key]!r}")
    if site.nodes_per_job > 1:
        if not SYSTEMS[site.system].many_nodes:
            raise ProfileError(f"{file}: nodes_per_job: expected 1 for kind {site.system}, got {site.nodes_per_job}")
        if not site.launch:
            names = ", ".join(LAUNCHERS)
            raise ProfileError(f"{file}: launcher: expected one of {names} for jobs of several nodes, got none")
