"""Dask clusters whose batch jobs have several nodes, on top of dask-jobqueue. Runs on the driver.

A job of dask-jobqueue has one node. Here, a launcher starts workers on all nodes of a job, and the workers of a job are
submitted, replaced, retired and closed together. Importing this module imports dask-jobqueue, which writes a commented
file into the user's Dask configuration.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import dask
from dask.utils import format_bytes, parse_timedelta
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive

import menndl_dask
from menndl_dask.cluster.batch.batch_system import SYSTEMS, resized_header, with_quoted
from menndl_dask.cluster.batch.dask_jobqueue import Job, JobQueueCluster, dask_jobqueue, own_defaults
from menndl_dask.cluster.batch.job_monitor import JobWatch
from menndl_dask.cluster.batch.launcher import JobLayout, launch_command, shell_word
from menndl_dask.cluster.batch.queue import listed
from menndl_dask.cluster.batch.site import ALLOCATION, PER_NODE, Site
from menndl_dask.cluster.node import retirement, worker_start
from menndl_dask.cluster.ports import LOOPBACK
from menndl_dask.environment import JOB_START
from menndl_dask.errors import shortened
from menndl_dask.text import counted, duration

logger = logging.getLogger(__name__)

_CHECK_S = 1.0  # seconds between counts of the workers of each job
_QUEUE_S = 30.0  # seconds between requests for the queue,
_SUSPECT_QUEUE_S = 5.0  # and while a job has lost its workers
_LINES = 3  # of the output of a job that is told
# last lines of launchers and Dask without the cause
_ECHO = re.compile(r"exit(ed)? (with )?(exit )?(code|status)|failed to start", re.IGNORECASE)


class MultiNodeJob(Job):  # type: ignore[misc]  # dask-jobqueue has no types
    """A batch job with workers on all of its nodes; mixed into a job class of dask-jobqueue.

    `keywords` are those of dask-jobqueue.
    """

    job_header: Any
    _command_template: str

    def __init__(self, *arguments: Any, site: Site, layout: JobLayout, **keywords: Any) -> None:
        self.site, self.layout = site, layout
        self.refused: str | None = None
        options = _worker_options(site, layout, keywords.pop("nanny", True))
        keywords["job_script_prologue"] = [*_prologue(site), *(keywords.get("job_script_prologue") or ())]
        given = [word for text in keywords.get("worker_extra_args") or () for word in shlex.split(text)]
        keywords["worker_extra_args"] = [shell_word(word) for word in (*given, *options, *_connection(keywords))]
        keywords |= {"processes": layout.tasks, "worker_command": worker_start.__name__}
        keywords["python"] = shell_word(keywords.get("python") or sys.executable)
        if (directory := keywords.get("local_directory")) is not None:
            keywords["local_directory"] = shell_word(directory)
        with own_defaults():
            super().__init__(*arguments, **keywords)
        if self.job_header:
            self.job_header = with_quoted(self.job_header, str(self.log_directory))
            extra = self.job_extra_directives or ()
            written = () if isinstance(extra, Mapping) else extra
            self.job_header = resized_header(site.system, self.job_header, layout, self.job_directives_skip, written)
        if layout.gpus_per_node and site.system == "htcondor":
            self.job_header_dict.setdefault("Request_GPUs", layout.gpus_per_node)
        if site.launch:
            self._command_template = f"{launch_command(site.launch, layout)} {self._command_template}"

    @property
    def worker_process_threads(self) -> int:
        """Number of evaluations that one worker runs at the same time, whatever its number of cores."""
        return self.layout.threads

    @property
    def worker_process_memory(self) -> str:
        """Memory of one worker: an equal share of the node's memory."""
        return str(format_bytes(self.worker_memory / self.layout.tasks_per_node)).replace(" ", "")

    async def start(self) -> None:
        """Submit the job. If the batch system refuses it, keep its message in `refused`."""
        try:
            await super().start()
        except (RuntimeError, OSError, ValueError) as error:
            message = str(error)
            self.refused = shortened(message.rpartition("stderr:")[2].strip() or message)
            self.status = Status.running  # Dask has no status for this; the next check replaces the job

    async def close(self) -> None:
        """Cancel the job."""
        await super().close()
        self.status = Status.closed  # dask-jobqueue leaves it open, which closing the cluster then complains about


class MultiNodeCluster(JobQueueCluster):  # type: ignore[misc]
    """A Dask cluster of batch jobs with several workers each; mixed into a cluster class of dask-jobqueue.

    `keywords` are those of dask-jobqueue.

    Attributes
    ----------
    trouble
        Error message while no job is expected to work, because one after another ended at once; else None. Others are
        still tried, with long pauses, for a search that has workers left.
    waits_for
        Message of why jobs wait in the queue, once it was logged; empty before.
    """

    _asks_batch_system = True

    def __init__(self, *arguments: Any, site: Site, layout: JobLayout, **keywords: Any) -> None:
        self.site, self.layout = site, layout
        self.trouble: str | None = None
        patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        self.watch = JobWatch(patience_s=patience, shortest_s=min(60.0, (site.walltime_s or 600.0) / 10))
        self._seen: set[str] = set()  # names of jobs that have had workers
        self._owed = 0  # jobs that are submitted later, since others ended at once
        self._ended_at = 0.0  # when the last one ended, on the monotonic clock
        self._tried = ""  # name of the job that is tried meanwhile
        self._asked, self._began = 0.0, time.monotonic()
        self._reasons: dict[str, str] = {}
        self.waits_for = ""
        self._watching: asyncio.Task[None] | None = None
        with own_defaults():
            super().__init__(*arguments, site=site, layout=layout, processes=layout.tasks, **keywords)

    def workers_of_jobs(self) -> Counter[str]:
        """Return the current number of workers of each job."""
        return Counter(map(_job_of_state, self.scheduler.workers.values()))

    def new_worker_spec(self) -> dict[str, dict[str, Any]]:
        """Return the specification of one more job by its name. No name is used twice."""
        self._i += 1
        spec: dict[str, dict[str, Any]] = super().new_worker_spec()
        group = [f"-{number}" for number in range(self.layout.tasks)]
        return {name: {**job, "group": group} for name, job in spec.items()}

    def scale(self, n: int | None = None, jobs: int = 0, **others: Any) -> Any:
        """Set the number of workers or jobs. Jobs that still wait in the queue are cancelled first."""
        wanted = jobs if n is None else -(-n // self.layout.tasks)
        if self.watch.in_crash_loop:
            self._owed = max(0, wanted - len(self.worker_spec))
            wanted = min(wanted, len(self.worker_spec))
        if self.status == Status.running:
            alive = self.workers_of_jobs()
            waiting = [name for name in reversed(list(self.worker_spec)) if not alive[name]]
            for name in waiting[: max(0, len(self.worker_spec) - wanted)]:
                del self.worker_spec[name]
        return super().scale(jobs=wanted, **others)

    async def ask_for(self, jobs: int) -> str | None:
        """Submit jobs up to a number. Return the message of the batch system if it refuses one, else None."""
        while len(self.worker_spec) < jobs:
            self.worker_spec.update(self.new_worker_spec())
        await self._correct_state()
        return next((job.refused for job in self.workers.values() if job.refused is not None), None)

    def adapt(self, *arguments: Any, **keywords: Any) -> Any:
        """Adapt the number of jobs to the number of evaluations, between bounds. A job ends as a whole."""
        return super().adapt(*arguments, **{"Adaptive": _AdaptToTasks, "worker_key": _job_of_state, **keywords})

    async def _start(self) -> None:
        await super()._start()
        self._watching = asyncio.create_task(self._watch_jobs())

    async def _close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super()._close()

    async def _correct_state_internal(self) -> None:
        leaving = set(self.workers) - set(self.worker_spec)
        if leaving and self.status == Status.running:
            # Dask would pass names of jobs where workers are expected, and their results would be lost
            addresses = [a for a, worker in self.scheduler.workers.items() if _job_of_state(worker) in leaving]
            await self.scheduler.retire_workers(workers=addresses, close_workers=True, remove=True)
        await super()._correct_state_internal()

    async def _watch_jobs(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            try:
                await self._check_jobs()
            except Exception:
                logger.exception("checking the batch jobs failed; it is tried again")

    async def _check_jobs(self) -> None:
        now = time.monotonic()
        for name, job in list(self.workers.items()):
            if job.refused is not None:
                self.watch.record_refusal(now)
                await self._replace(name, f"was refused: {job.refused}")
        numbers = {name: str(job.job_id) for name, job in self.workers.items() if job.job_id is not None}
        queued = None
        pause = _SUSPECT_QUEUE_S if self.watch.has_suspects else _QUEUE_S
        if not self._asks_batch_system or now - self._asked >= pause:
            self._asked = now
            queued = await self._queued(set(numbers.values()))
        workers = self.workers_of_jobs()
        self._seen |= workers.keys()
        for name in self.watch.update(now, workers, numbers, queued):
            await self._replace(name, "is gone")
        await self._submit_owed(now)

    async def _replace(self, name: str, why: str) -> None:
        """Remove a job, and submit another one; later, if jobs end at once one after another."""
        job = self.workers.pop(name)
        message = f"job {job.job_id or name} {why}"
        wanted = self.worker_spec.pop(name, None) is not None
        await job.close()
        self._owed += wanted
        if self.watch.in_crash_loop:
            self._ended_at = time.monotonic()
            row = f"{message}; {self.watch.short_jobs} jobs in a row ended at once"
            if self.watch.has_failed:
                self.trouble = f"{row}{printed(job)}"
            then = f"; another one is tried after {duration(self.watch.pause_s)}"
            logger.error("%s%s%s", row, "" if self.watch.has_failed else then, printed(job))
        elif wanted:
            output = "" if name in self._seen else printed(job)  # the only place that says why
            logger.warning("%s; another one is submitted%s", message, output)

    async def _submit_owed(self, now: float) -> None:
        """Submit jobs in place of lost ones; a single one after a pause while they end at once one after another."""
        count = self._owed
        if self.watch.in_crash_loop:
            is_due = now - self._ended_at >= self.watch.pause_s and self._tried not in self.workers
            count = min(count, 1) if is_due else 0
        elif self._tried:
            logger.warning("jobs work again; %s submitted", counted(count, "more job"))
            self.trouble, self._tried = None, ""
        if not count:
            return
        self._owed -= count
        for _ in range(count):
            new = self.new_worker_spec()
            self.worker_spec.update(new)
        if self.watch.in_crash_loop:
            (self._tried,) = new
        await self._correct_state()

    async def _queued(self, own: Set[str]) -> Set[str] | None:
        """Return the numbers of the user's jobs that wait or run; None if the batch system does not answer."""
        jobs = await listed(self.site.system)
        if jobs is None:
            return None
        reasons = {number: why for number, why in jobs.items() if why and number in own}
        is_late = not self.scheduler.workers and time.monotonic() - self._began >= _QUEUE_S
        if is_late and not reasons.items() <= self._reasons.items():  # once for each reason
            self._reasons = reasons
            self.waits_for = ", ".join(f"job {number} waits in the queue ({why})" for number, why in reasons.items())
            logger.warning("no worker yet: %s", self.waits_for)
        return jobs.keys()


class _AdaptToTasks(Adaptive):
    """One worker for each evaluation, and the maximum once each worker has one.

    Dask would decide by the duration of tasks. A search keeps only about as many evaluations in flight as there are
    workers, so an evaluation for each worker means that it could use more.
    """

    async def target(self) -> int:
        cluster: Any = self.cluster
        tasks = len(cluster.scheduler.tasks)
        if tasks and tasks >= cluster.scheduler.total_nthreads:
            return int(self.maximum)
        return math.ceil(tasks / int(cluster.layout.threads))


def _job_of_state(worker: Any) -> str:
    """Return the name of a worker's job: the name of the worker without its number."""
    return str(worker.name).rpartition("-")[0]


def cluster_class(system: str) -> type[MultiNodeCluster]:
    """Return the cluster class for a batch system: dask-jobqueue's own, with jobs of several nodes."""
    cluster: Any = getattr(dask_jobqueue, SYSTEMS[system].cluster)
    job = type(f"MultiNode{cluster.job_cls.__name__}", (MultiNodeJob, cluster.job_cls), {})
    return type(f"MultiNode{cluster.__name__}", (MultiNodeCluster, cluster), {"job_cls": job})


def _prologue(site: Site) -> list[str]:
    """Return the first lines of a job script, before those of the profile."""
    if site.system == "htcondor":  # has no shell script, no time limit and often no shared file system
        return []
    lines = [f"cd {shlex.quote(str(Path.cwd()))}"]
    lines.append(f"export PYTHONPATH={shlex.quote(':'.join(_own_paths()))}${{PYTHONPATH:+:$PYTHONPATH}}")
    if site.walltime_s is not None:
        lines.append(f"export {JOB_START}=$(date +%s)")
    return lines


def _own_paths() -> list[str]:
    """Return the folders of the program's own modules, which evaluations import on the workers."""
    program = sys.argv[0]
    # a module of a package (python -m …) imports from where it was started: its folder would shadow Python's modules
    script = program.endswith(".py") and getattr(sys.modules["__main__"], "__spec__", None) is None
    beside = Path(program).resolve().parent if script else Path.cwd()
    given = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    package = str(Path(menndl_dask.__file__).parents[1])
    installed = package.startswith((sys.prefix, sys.base_prefix))
    return list(dict.fromkeys([str(beside), *given, *([] if installed else [package])]))


def _worker_options(site: Site, layout: JobLayout, nanny: bool) -> list[str]:
    """Return the options of `menndl_dask.cluster.node.worker_start` and of the Dask worker."""
    options = []
    if site.walltime_s is not None and site.kind != ALLOCATION:  # the workers of an allocation end with the driver
        options += ["--walltime", f"{site.walltime_s:.15g}", "--retire", f"{site.retirement_s:.15g}"]
    # what a worker serves over HTTP is neither encrypted nor needed
    options += ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0", "--nanny" if nanny else "--no-nanny"]
    options += ["--preload", retirement.__name__, "--cores", str(layout.cores_per_task)]
    if not site.launch and layout.tasks > 1:
        options += ["--tasks", str(layout.tasks)]
    if site.gpu_vendor is not None:
        options += ["--gpus", str(site.gpus_per_node), "--vendor", site.gpu_vendor]
        options += ["--per-node"] if site.workers == PER_NODE else []
        options += ["--tasks-per-gpu", str(site.trainers_per_gpu)] if site.trainers_per_gpu > 1 else []
    if site.ports is not None:
        first, last = site.ports
        middle = (first + last) // 2
        options += ["--worker-port", f"{first}:{middle}", "--nanny-port", f"{middle + 1}:{last}"]
    return options


def _connection(keywords: dict[str, Any]) -> Iterator[str]:
    """Take the keywords of the connection, and return them as options of the Dask worker, which are then quoted."""
    for name in ("interface", "protocol"):
        if value := keywords.pop(name, None):
            yield from (f"--{name}", value)
    if security := keywords.pop("security", None):
        for part, value in security.get_tls_config_for_role("worker").items():
            if part != "ciphers":  # has no option
                yield from (f"--tls-{part.replace('_', '-')}", value)


def printed(job: Any) -> str:
    """Return the last error in the output of a job, or its last lines, with the name of the file."""
    files = sorted(Path(job.log_directory).glob(f"*{job.job_id}*")) if job.log_directory and job.job_id else []
    for file in files:
        lines = file.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if re.search(r"error", line, re.IGNORECASE) and not _ECHO.search(line)]
        if lines:
            return f"; {file} says: {shortened(errors[-1] if errors else ' | '.join(lines[-_LINES:]))}"
    return f"; what the jobs print is in {job.log_directory}" if job.log_directory else ""
