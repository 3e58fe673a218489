"""A site: the profile of a batch system, its nodes and their GPUs. Pure.

The keywords of dask-jobqueue stay as they are, under ``jobqueue``; ``cores`` and ``memory`` are those of one node, as
in dask-jobqueue, whose jobs have one.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
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
_COUNT = integer(1, 100_000)  # of jobs or nodes
_PER_NODE = integer(1, 1000)


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
    f"one of {', '.join(LAUNCHERS)}, maybe with options, in one line, or an empty text",
    lambda value: (not value.strip() or launcher_name(value) in LAUNCHERS) if _is_line(value) else False,
    {"type": "string"},
)
_TEXTS = Check(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
    {"type": "array", "items": {"type": "string"}},
)
_MAPPING = Check("keys with values", lambda value: isinstance(value, Mapping), {"type": "object"})
_WORD = Check(
    "a word without spaces, quotes and other signs of the shell",
    lambda value: isinstance(value, str) and re.fullmatch(r"[^\s'\"`$;&|<>()\\!*?#]+", _filled_in(value)) is not None,
    {"type": "string", "minLength": 1},
)
_LINE = Check(
    "a text of one line", lambda value: _is_line(value) and value.strip() != "", {"type": "string", "minLength": 1}
)
_LINES = Check(
    "a list of texts of one line each", lambda value: _TEXTS.accepts(value) and all(map(_is_line, value)), _TEXTS.schema
)
_WORDS = Check(
    "a list of arguments, with closed quotes",
    lambda value: _LINES.accepts(value) and all(map(_is_split, value)),
    _TEXTS.schema,
)
_DIRECTIVES = Check(
    "a list of texts of one line each",
    lambda value: all(map(_is_line, value.values())) if isinstance(value, Mapping) else _LINES.accepts(value),
    {"anyOf": [dict(_TEXTS.schema), {"type": "object"}]},
)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_split(value: str) -> bool:
    try:
        return bool(shlex.split(value))
    except ValueError:
        return False


def _filled_in(value: str) -> str:
    """Return a text with a word for each placeholder, such as ``<partition>``."""
    return re.sub(r"<[^<>]+>", "_", value) if _is_line(value) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keywords:
    """Keywords of dask-jobqueue whose values are checked; it knows others too."""

    cores: int | None = checked(integer(1), None)
    memory: str | None = checked(
        text("a text such as 64GB", r"(?=.*[1-9])\d+(\.\d+)? *([kKmMgGtTpP][iI]?)?[bB]?"), None
    )
    walltime: str | None = checked(text("hours:minutes:seconds in quotes, such as '02:00:00'"), None)
    account: str | None = checked(_WORD, None)
    project: str | None = checked(_WORD, None)
    queue: str | None = checked(_WORD, None)
    job_name: str | None = checked(_WORD, None)
    interface: str | None = checked(_WORD, None)
    local_directory: str | None = checked(_LINE, None)
    log_directory: str | None = checked(_LINE, None)
    python: str | None = checked(_LINE, None)
    job_extra_directives: Sequence[str] | Mapping[str, str] | None = checked(_DIRECTIVES, None)
    job_script_prologue: Sequence[str] | None = checked(_TEXTS, None)
    job_directives_skip: Sequence[str] | None = checked(_LINES, None)
    worker_extra_args: Sequence[str] | None = checked(_WORDS, None)
    nanny: bool | None = checked(FLAG, None)
    death_timeout: float | None = checked(number(above=0), None)
    scheduler_options: Mapping[str, Any] | None = checked(_MAPPING, None)


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
    added, added_from
        Keywords in `jobqueue` that the user's configuration of dask-jobqueue has and the profile lacks, and the file.
    """

    kind: str
    jobqueue: Mapping[str, Any] = checked(_KEYWORDS)
    batch: str | None = checked(one_of(SYSTEMS), None)
    jobs: int | tuple[int, int] = checked(_JOBS, 1)
    nodes_per_job: int = checked(_COUNT, 1)
    gpus_per_node: int = checked(integer(0, 1000), 0)
    gpu_vendor: str | None = checked(one_of(GPU_VENDORS), None)
    workers: str = checked(one_of((PER_GPU, PER_NODE)), PER_GPU)
    workers_per_node: int = checked(_PER_NODE, 1)
    trainers_per_gpu: int = checked(_PER_NODE, 1)
    launcher: str | None = checked(_LAUNCHER, None)
    retire_s: float | None = checked(number(least=0), None)
    tls: bool = checked(FLAG, True)
    dashboard_port: int | None = checked(PORT_OR_NONE, 8787)
    ports: tuple[int, int] | None = checked(_PORTS, None)
    shared_directory: str = checked(_LINE, "~/.menndl")
    driver: Mapping[str, Any] = checked(_KEYWORDS, default_factory=dict)
    file: str = "profile"
    added: tuple[str, ...] = ()
    added_from: str = ""

    @property
    def system(self) -> str:
        """The batch system, also for an allocation."""
        return self.batch or self.kind

    @property
    def cores(self) -> int:
        """Cores of a node."""
        return int(self.jobqueue["cores"])

    @property
    def walltime(self) -> str:
        """Time limit of a job, as the batch system reads it; empty without one."""
        return str(self.jobqueue.get("walltime") or SYSTEMS[self.system].walltime)

    @property
    def walltime_s(self) -> float | None:
        """Time limit of a job in seconds; None without one."""
        return walltime_s(self.system, self.walltime) if self.walltime else None

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
    "name": "job_name is the name of the jobs",
    "config_name": "its keywords belong in this file",
    "processes": "gpus_per_node or workers_per_node says how many workers there are",
    "worker_command": "it is fixed",
    "n_workers": "jobs says how many there are",
    "security": "tls says whether connections are encrypted",
    "shared_temp_directory": "shared_directory says where",
    **dict.fromkeys(("loop", "asynchronous", "scheduler_cls", "job_cls", "scheduler", "protocol"), "it is fixed"),
}

# lines that the user writes for the shell
_SCRIPT = ("job_script_prologue", "env_extra")
# not the options of the scheduler, whose addresses decide who can connect
_OTHERS = ("disk", "job_cpu", "job_mem", "lsf_units", "memory_per_core_property_name", "resource_spec", "shebang")
_ADDABLE = {*(entry.name for entry in fields(_Keywords)), *_OTHERS} - {"scheduler_options"}


def check_site(
    file: str, kind: str, values: Mapping[str, Any], own: Mapping[str, Any] | None = None, own_file: str = ""
) -> Site:
    """Return the site of a profile.

    Parameters
    ----------
    file
        Name of the profile, for messages.
    kind
        One of `KINDS`.
    values
        The other keys of the profile.
    own, own_file
        Keywords of the user's configuration of dask-jobqueue, which stand in for those that the profile lacks, and its
        file for messages.

    Raises
    ------
    ProfileError
        If a key is unknown, or a value is not as expected.
    """
    known = [entry.name for entry in fields(Site) if entry.name not in ("kind", "file", "added", "added_from")]
    hint = f" for kind {kind}; known are {', '.join(known)}"
    keywords = {entry.name for entry in fields(_Keywords)}
    if misplaced := next((key for key in values if key in keywords), None):
        raise ProfileError(f"{file}: unknown key {misplaced!r}{hint}; it belongs under jobqueue")
    check_keys(values, known, file, ProfileError, hint)
    site = read(Site, {"jobqueue": {}, **values, "kind": kind, "file": file}, file, ProfileError)
    _check_sense(file, site, values)
    # a key without a value is one that is not given
    given = {key: value for key, value in site.jobqueue.items() if value is not None}
    driver = {key: value for key, value in site.driver.items() if value is not None}
    for where, some in (("jobqueue", given), ("driver", driver)):
        _check_keywords(f"{file}: {where}", some)
    added = {key: value for key, value in (own or {}).items() if key in _ADDABLE and key not in given}
    _check_keywords(f"{own_file}: jobqueue: {site.system}", added)
    site = replace(site, jobqueue={**added, **given}, driver=driver, added=tuple(sorted(added)), added_from=own_file)
    for key in ("cores", "memory"):
        if key not in site.jobqueue:
            found = get_close_matches(key, map(str, site.jobqueue), n=1)
            misspelt = f", but {found[0]!r}" if found else ""
            raise ProfileError(f"{file}: jobqueue: {key}: expected that of a node, got none{misspelt}")
    if isinstance(site.jobqueue.get("job_extra_directives"), Mapping) and site.system != "htcondor":
        raise ProfileError(f"{file}: jobqueue: job_extra_directives: expected {_LINES.expected}, got keys with values")
    _check_times(file, site)
    return site


def _check_keywords(where: str, given: Mapping[str, Any]) -> None:
    """Check the values of keywords; dask-jobqueue checks the names when the cluster is made."""
    for key, value in given.items():
        if key in _NOT_YOURS:
            raise ProfileError(f"{where}: {key}: not to be given here: {_NOT_YOURS[key]}")
        if isinstance(value, str) and key not in _SCRIPT:
            _LINE.demand(f"{where}: {key}", value, ProfileError)
    check_values(_Keywords, given, where, ProfileError)


def _check_times(file: str, site: Site) -> None:
    """Compare the time limits of jobs with the time before them at which workers retire."""
    try:
        walltime = site.walltime_s
        if (own := site.driver.get("walltime")) is not None:
            walltime_s(site.system, own)
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from None
    if walltime is not None and site.retirement_s >= walltime:
        expected = f"expected less than the walltime of {walltime:g} s"
        raise ProfileError(f"{file}: retire_s: {expected}, got {site.retirement_s:g}")


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
