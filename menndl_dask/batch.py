"""The workers of batch jobs of many nodes, on top of dask-jobqueue. Runs on the driver.

dask-jobqueue knows jobs of one node. Here a job has several, a launcher starts its workers on all of them, and they are
one group: it is asked for, replaced when it is lost, retired and closed as a whole. Importing this imports
dask-jobqueue, which writes a commented file into the user's Dask configuration.
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
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import dask
from dask.utils import format_bytes, parse_timedelta
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive

import menndl_dask
from menndl_dask.batch_queue import listed
from menndl_dask.batch_system import SYSTEMS, resized_header
from menndl_dask.environment import JOB_START
from menndl_dask.job_watch import JobWatch
from menndl_dask.jobqueue import Job, JobQueueCluster, dask_jobqueue
from menndl_dask.launcher import Shape, launch_command
from menndl_dask.site import ALLOCATION, PER_NODE, Site

logger = logging.getLogger(__name__)

_LOOK_S = 1.0  # how often the workers of the jobs are counted
_ASK_S = 30.0  # how often the batch system is asked what is queued,
_ASK_SOON_S = 5.0  # and while a job has lost its workers
# what launchers and Dask say last, when all is told
_ECHO = re.compile(r"exit(ed)? (with )?(exit )?(code|status)|failed to start", re.IGNORECASE)
_SAID = 300  # characters of a message of the batch system


class GroupJob(Job):  # type: ignore[misc]  # dask-jobqueue has no types
    """A job whose workers are started on all of its nodes by a launcher; made with a class of dask-jobqueue.

    Parameters
    ----------
    site
        Which the job is for.
    shape
        Of the job.
    keywords
        Of dask-jobqueue.
    """

    job_header: Any
    _command_template: str

    def __init__(self, *arguments: Any, site: Site, shape: Shape, **keywords: Any) -> None:
        self.site, self.shape = site, shape
        self.refused: str | None = None
        options = _worker_options(site, shape, keywords.pop("nanny", True))
        keywords["job_script_prologue"] = [*_prologue(site), *(keywords.get("job_script_prologue") or ())]
        keywords["worker_extra_args"] = [*(keywords.get("worker_extra_args") or ()), *options]
        keywords |= {"processes": shape.tasks, "worker_command": "menndl_dask.rank"}
        super().__init__(*arguments, **keywords)
        extra = self.job_extra_directives or ()
        if self.job_header:
            written = [] if isinstance(extra, Mapping) else extra
            self.job_header = resized_header(site.system, self.job_header, shape, self.job_directives_skip, written)
        if shape.gpus_per_node and site.system == "htcondor":
            self.job_header_dict.setdefault("Request_GPUs", shape.gpus_per_node)
        if site.launch:
            self._command_template = f"{launch_command(site.launch, shape)} {self._command_template}"

    @property
    def worker_process_threads(self) -> int:
        """Evaluations at once in one worker, however many cores it has."""
        return self.shape.threads * (1 + self.shape.ahead)

    @property
    def worker_process_memory(self) -> str:
        """Memory of one worker: its part of the node's."""
        return str(format_bytes(self.worker_memory / self.shape.tasks_per_node)).replace(" ", "")

    async def start(self) -> None:
        """Submit the job; what the batch system says against it is kept in `refused`."""
        try:
            await super().start()
        except (RuntimeError, OSError, ValueError) as error:
            self.refused = _what_it_said(error)
            self.status = Status.running  # for Dask, which has no word for this; the next look gives it up

    async def close(self) -> None:
        """Cancel the job."""
        await super().close()
        self.status = Status.closed  # dask-jobqueue leaves it open, which closing the cluster then complains about


class GroupCluster(JobQueueCluster):  # type: ignore[misc]
    """Batch jobs as groups of workers; made with a class of dask-jobqueue.

    Parameters
    ----------
    site
        Where.
    shape
        Of one job.
    keywords
        Of dask-jobqueue.

    Attributes
    ----------
    trouble
        What is wrong, in words, once no job can be had; else nothing.
    waits_for
        What jobs wait for, in words, once that was told because no worker has come.
    """

    def __init__(self, *arguments: Any, site: Site, shape: Shape, **keywords: Any) -> None:
        self.site, self.shape = site, shape
        self.trouble: str | None = None
        patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        self.watch = JobWatch(patience_s=patience, shortest_s=_shortest(site))
        self._seen: set[str] = set()  # jobs that have had workers
        self._asked = 0.0
        self._began = time.monotonic()
        self._reasons: dict[str, str] = {}
        self.waits_for = ""
        self._watching: asyncio.Task[None] | None = None
        super().__init__(*arguments, site=site, shape=shape, processes=shape.tasks, **keywords)

    def workers_of_jobs(self) -> Counter[str]:
        """Return how many workers each job has now."""
        return Counter(map(_job_of_state, self.scheduler.workers.values()))

    def new_worker_spec(self) -> dict[str, dict[str, Any]]:
        """Return the name of another job and what it is; no name is used twice."""
        self._i += 1
        spec: dict[str, dict[str, Any]] = super().new_worker_spec()
        group = [f"-{number}" for number in range(self.shape.tasks)]
        return {name: {**job, "group": group} for name, job in spec.items()}

    def scale(self, n: int | None = None, jobs: int = 0, **others: Any) -> Any:
        """Have so many workers or jobs; those that still wait are given up first."""
        wanted = jobs if n is None else -(-n // self.shape.tasks)
        if self.status == Status.running:
            alive = self.workers_of_jobs()
            waiting = [name for name in reversed(list(self.worker_spec)) if not alive[name]]
            for name in waiting[: max(0, len(self.worker_spec) - wanted)]:
                del self.worker_spec[name]
        return super().scale(jobs=wanted, **others)

    async def ask_for(self, jobs: int) -> str | None:
        """Ask for jobs; return what the batch system says if it refuses one of them."""
        while len(self.worker_spec) < jobs:
            self.worker_spec.update(self.new_worker_spec())
        await self._correct_state()
        return next((job.refused for job in self.workers.values() if job.refused is not None), None)

    def adapt(self, *arguments: Any, **keywords: Any) -> Any:
        """Have as many jobs as can be used between bounds; a job goes as a whole."""
        return super().adapt(*arguments, **{"Adaptive": _AsMany, "worker_key": _job_of_state, **keywords})

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
            # Dask would name the jobs where it has to name workers, and what these hold would be lost
            addresses = [a for a, worker in self.scheduler.workers.items() if _job_of_state(worker) in leaving]
            await self.scheduler.retire_workers(workers=addresses, close_workers=True, remove=True)
        await super()._correct_state_internal()

    async def _watch_jobs(self) -> None:
        while self.trouble is None:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except Exception:
                logger.exception("looking after the batch jobs failed; it is tried again")

    async def _look(self) -> None:
        now = time.monotonic()
        for name, job in list(self.workers.items()):
            if job.refused is not None:
                self.watch.failed()
                await self._replace(name, f"was refused: {job.refused}")
        numbers = {name: str(job.job_id) for name, job in self.workers.items() if job.job_id is not None}
        queued = None
        if now - self._asked >= self._pause_s():
            self._asked = now
            queued = await self._queued(set(numbers.values()))
        workers = self.workers_of_jobs()
        self._seen |= workers.keys()
        for name in self.watch.look(now, workers, numbers, queued):
            await self._replace(name, "is gone")

    async def _replace(self, name: str, why: str) -> None:
        """Give a job up, and ask for another unless they all end like this."""
        job = self.workers.pop(name)
        told = f"job {job.job_id or name} {why}"
        wanted = self.worker_spec.pop(name, None) is not None
        await job.close()
        if self.watch.in_crash_loop:
            self.trouble = f"{told}; it is the third that ends at once, no other is asked for{printed(job)}"
            logger.error("%s", self.trouble)
        elif wanted:
            said = "" if name in self._seen else printed(job)  # nobody else can tell why
            logger.warning("%s; another is asked for%s", told, said)
            self.worker_spec.update(self.new_worker_spec())
            await self._correct_state()

    def _pause_s(self) -> float:
        """Return for how long the batch system is left alone after it was asked."""
        return _ASK_SOON_S if self.watch.doubts else _ASK_S

    async def _queued(self, own: Set[str]) -> Set[str] | None:
        """Return the numbers of the user's jobs that wait or run; nothing if the batch system does not answer."""
        jobs = await listed(self.site.system)
        if jobs is None:
            return None
        self._tell_reasons({number: why for number, why in jobs.items() if why and number in own})
        return jobs.keys()

    def _tell_reasons(self, reasons: dict[str, str]) -> None:
        """Tell what jobs wait for, once for each reason, where none has workers after a while."""
        is_patient = self.scheduler.workers or time.monotonic() - self._began < _ASK_S
        if is_patient or reasons.items() <= self._reasons.items():
            return
        self._reasons = reasons
        self.waits_for = told = ", ".join(f"job {number} waits in the queue ({why})" for number, why in reasons.items())
        logger.warning("no worker yet: %s", told)


class _AsMany(Adaptive):
    """As many workers as there are evaluations; all that may be, once each worker has one.

    Dask would compare how long tasks take with a few seconds. A search keeps just enough of them in flight, so that one
    for each worker means that it has more.
    """

    async def target(self) -> int:
        cluster: Any = self.cluster
        tasks = len(cluster.scheduler.tasks)
        if tasks and tasks >= cluster.scheduler.total_nthreads:
            return int(self.maximum)
        return math.ceil(tasks / int(cluster.shape.threads))


def _job_of_state(worker: Any) -> str:
    """Return the name of the job that a worker belongs to, from the worker's name."""
    return str(worker.name).rpartition("-")[0]


def cluster_class(system: str) -> type[GroupCluster]:
    """Return the class of clusters for a batch system: dask-jobqueue's own, with groups."""
    cluster: Any = getattr(dask_jobqueue, SYSTEMS[system].cluster)
    job = type(f"Group{cluster.job_cls.__name__}", (GroupJob, cluster.job_cls), {})
    return type(f"Group{cluster.__name__}", (GroupCluster, cluster), {"job_cls": job})


def _prologue(site: Site) -> list[str]:
    """Return what a job script does before anything that the profile says."""
    if site.system == "htcondor":  # has no shell script, no time limit and often no shared file system
        return []
    lines = [f"cd {shlex.quote(str(Path.cwd()))}"]
    lines.append(f"export PYTHONPATH={shlex.quote(':'.join(_own_paths()))}${{PYTHONPATH:+:$PYTHONPATH}}")
    if site.walltime_s is not None:
        lines.append(f"export {JOB_START}=$(date +%s)")
    return lines


def _own_paths() -> list[str]:
    """Return where the program's own modules are, which the evaluations need on the workers."""
    program = sys.argv[0]
    # a module of a package (python -m …) imports from where it was started: its folder would shadow Python's modules
    script = program.endswith(".py") and getattr(sys.modules["__main__"], "__spec__", None) is None
    beside = Path(program).resolve().parent if script else Path.cwd()
    given = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    package = str(Path(menndl_dask.__file__).parents[1])
    installed = package.startswith((sys.prefix, sys.base_prefix))
    return list(dict.fromkeys([str(beside), *given, *([] if installed else [package])]))


def _worker_options(site: Site, shape: Shape, nanny: bool) -> list[str]:
    """Return what `menndl_dask.rank` and the Dask worker are told."""
    options = ["--no-dashboard", "--nanny" if nanny else "--no-nanny"]
    options += ["--preload", "menndl_dask.retirement", "--cores", str(shape.cores_per_task)]
    if not site.launch and shape.tasks > 1:
        options += ["--tasks", str(shape.tasks)]
    if site.gpu_vendor is not None:
        options += ["--gpus", str(site.gpus_per_node), "--vendor", site.gpu_vendor]
        options += ["--per-node"] if site.workers == PER_NODE else []
        options += ["--tasks-per-gpu", str(site.trainers_per_gpu)] if site.trainers_per_gpu > 1 else []
    options += ["--ahead", str(shape.ahead)] if shape.ahead else []
    if site.walltime_s is not None and site.kind != ALLOCATION:  # inside of it, everything ends together
        options += ["--walltime", f"{site.walltime_s:g}", "--retire", f"{site.retirement_s:g}"]
    if site.ports is not None:
        first, last = site.ports
        middle = (first + last) // 2
        options += ["--worker-port", f"{first}:{middle}", "--nanny-port", f"{middle + 1}:{last}"]
    return options


def _shortest(site: Site) -> float:
    return min(60.0, (site.walltime_s or 600.0) / 10)


def _what_it_said(error: BaseException) -> str:
    text = str(error)
    said = text.rpartition("stderr:")[2].strip() or text
    return " ".join(said.split())[:_SAID]


def printed(job: Any) -> str:
    """Return the last error that a job has printed, or its last line, and where."""
    files = sorted(Path(job.log_directory).glob(f"*{job.job_id}*")) if job.log_directory and job.job_id else []
    for file in files:
        lines = file.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if re.search(r"error", line, re.IGNORECASE) and not _ECHO.search(line)]
        if lines:
            return f"; {file} says: {(errors or lines)[-1].strip()[:_SAID]}"
    return f"; what the jobs print is in {job.log_directory}" if job.log_directory else ""
