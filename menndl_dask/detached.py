"""A driver in the queue: a batch job that is followed by another until the budget is spent. Runs on the driver.

Login nodes forbid long processes, and batch jobs end. The first thing that such a job does is to submit its successor,
which waits for its end, however it comes; the last successor is cancelled when there is nothing left to do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from menndl_dask import atomic, stop
from menndl_dask.batch_queue import listed
from menndl_dask.batch_system import SYSTEMS
from menndl_dask.environment import JOB_START
from menndl_dask.errors import FINISHED, ExitCode, ProfileError, RunError
from menndl_dask.island import whole_run
from menndl_dask.journal import read_journal
from menndl_dask.profile import read_profile
from menndl_dask.site import ALLOCATION, Site

logger = logging.getLogger(__name__)

_FILE, _DRIVERS = "detached.json", "drivers.txt"
_NUMBERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "OAR_JOB_ID", "JOB_ID")
_STANDSTILLS = 3  # jobs in a row without a single result
_ANSWER_S = 60


@dataclass(frozen=True, slots=True)
class Detached:
    """What is written in a run's directory about its drivers in the queue.

    Parameters
    ----------
    profile
        Path or name of the cluster profile.
    command
        What a driver runs.
    directory
        Where it runs.
    """

    profile: str
    command: tuple[str, ...]
    directory: str

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """Read it; nothing where a run was never detached."""
        try:
            values: dict[str, Any] = json.loads((run / _FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls(**{**values, "command": tuple(values["command"])})

    def write(self, run: Path) -> None:
        """Write it, in place of what was there."""
        atomic.write_text(run / _FILE, json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Drivers:
    """The jobs of a run's drivers, from a file that whoever submits or is one appends to.

    Parameters
    ----------
    jobs
        Numbers of the jobs so far; the last one may wait for the one before.
    told
        How many results there were when each driver began.
    """

    jobs: tuple[str, ...] = ()
    told: tuple[int, ...] = ()

    @classmethod
    def read(cls, run: Path) -> Self:
        """Read them."""
        path = run / _DRIVERS
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        jobs = dict.fromkeys(words[1] for words in lines if words[0] == "job")
        return cls(tuple(jobs), tuple(int(words[1]) for words in lines if words[0] == "began"))

    @staticmethod
    def add(run: Path, what: str, number: object) -> None:
        """Add a ``job``, or with how many results one ``began``."""
        with (run / _DRIVERS).open("a", encoding="utf-8") as file:
            file.write(f"{what} {number}\n")

    @property
    def stand_still(self) -> bool:
        """Whether the last drivers have not brought home anything."""
        return len(self.told) >= _STANDSTILLS and len(set(self.told[-_STANDSTILLS:])) == 1


def detach(run: Path, profile: str, command: Sequence[str]) -> str:
    """Submit the driver of a run as a batch job; return the job's number.

    Parameters
    ----------
    run
        The run directory; made if need be.
    profile
        Path or name of the cluster profile, whose batch system takes the driver too.
    command
        What the driver runs, from this directory.

    Raises
    ------
    ProfileError
        If the profile is of no batch system, or the batch system refuses the job.
    RunError
        If a driver of the run is in the queue already.
    """
    site = site_of(profile)
    if alive := queued(site, Drivers.read(run).jobs):
        raise RunError(f"{run}: has a driver in the queue already: job {', '.join(alive)}; menndl stop {run}")
    run.mkdir(parents=True, exist_ok=True)
    stop.withdraw(run)
    place = str(Path(profile).resolve()) if Path(profile).is_file() else profile
    (run / _DRIVERS).unlink(missing_ok=True)
    before = Detached.read(run)
    Detached(place, tuple(command), str(Path.cwd())).write(run)  # first: the job may begin at once
    try:
        return _submit(site, run, after=None)
    except ProfileError:  # the status is not to tell of a driver that never was
        (run / _FILE).unlink() if before is None else before.write(run)
        raise


def queued(site: Site, numbers: Sequence[str]) -> dict[str, str]:
    """Return which of the jobs wait or run, each with what it waits for, where the batch system tells that.

    If the batch system does not answer, it is all of them.
    """
    if not numbers:
        return {}
    alive = asyncio.run(listed(site.system))
    return {n: "" if alive is None else alive[n] for n in numbers if alive is None or n in alive}


def cancel(site: Site, numbers: Iterable[str]) -> None:
    """Cancel jobs; those that are gone are no trouble."""
    from menndl_dask.batch import cluster_class

    command = shlex.split(cluster_class(site.system).job_cls.cancel_command)
    for number in numbers:
        subprocess.run([*command, number], capture_output=True, timeout=_ANSWER_S, check=False)


def driver_script(site: Site, run: Path) -> str:
    """Return the job script of a driver."""
    return str(_job(site, run).job_script())


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the job of a driver: submit the successor, drive, and cancel the successor if there is nothing left to do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s menndl_dask.detached: %(message)s")
    (word,) = sys.argv[1:] if arguments is None else arguments
    run = Path(word)
    detached = Detached.read(run)
    if detached is None:
        logger.error("%s: expected a run that was detached, got no %s", run, _FILE)
        return ExitCode.USER_ERROR
    if stop.is_asked(run):
        logger.info("%s was asked to stop", run)
        return 0
    site = site_of(detached.profile)
    results = _results(run)
    successor = _succeed(site, run, results)
    ended = _drive(detached, site)
    logger.info("the driver has ended with status %d", ended)
    failed = ended not in (*FINISHED, ExitCode.STOPPED, -signal.SIGTERM) and _results(run) == results
    if successor is not None and (ended in FINISHED or failed or stop.is_asked(run)):
        cancel(site, [successor])
    stop.withdraw(run)
    return max(ended, 0)


def _succeed(site: Site, run: Path, results: int) -> str | None:
    """Write down that a driver begins; submit the next one and return its number, unless that would lead nowhere."""
    own = _own_number(os.environ)
    if own is not None:
        Drivers.add(run, "job", own)
    Drivers.add(run, "began", results)
    drivers = Drivers.read(run)
    if drivers.stand_still:
        logger.error("the last %d drivers brought no result home; no other is submitted", _STANDSTILLS)
        return None
    if own is None or [number for number in queued(site, drivers.jobs) if number != own]:
        return None
    return _submit(site, run, after=own)


def _drive(detached: Detached, site: Site) -> int:
    """Run the driver; return how it ended. What the batch system sends at the end of the job is handed on to it."""
    own = _driver_site(site)
    began = float(os.environ.get(JOB_START) or time.time())
    ends = began + (math.inf if own.walltime_s is None else own.walltime_s - own.retirement_s)
    environment = {**os.environ, stop.DRIVER_ENDS: str(ends)}
    process = subprocess.Popen(detached.command, cwd=detached.directory, env=environment)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(signal.SIGTERM))
    return process.wait()


def _submit(site: Site, run: Path, after: str | None) -> str:
    """Submit a driver that begins when another job has ended, and write down its number."""
    job = _job(site, run)
    if after is not None:
        options = [word.format(job=after) for word in SYSTEMS[site.system].after]
        job.submit_command = f"{job.submit_command} {shlex.join(options)} "
    asyncio.run(job.start())
    if job.refused is not None:
        raise ProfileError(f"{site.file}: the batch system refused the driver's job: {job.refused}")
    Drivers.add(run, "job", job.job_id)
    return str(job.job_id)


def _job(site: Site, run: Path) -> Any:
    from menndl_dask.batch import cluster_class
    from menndl_dask.site_cluster import check_filled_in, check_keywords, job_keywords, make_directory

    own = _driver_site(site)
    check_keywords(own)
    check_filled_in(own)
    make_directory(own)
    cls = cluster_class(own.system).job_cls
    keywords = job_keywords(own, cls) | {"job_name": _job_name(run)}
    job = cls("none", name="driver", site=own, shape=own.shape(), **keywords)
    job._command_template = shlex.join([sys.executable, "-m", "menndl_dask.detached", str(run.resolve())])
    return job


def _job_name(run: Path) -> str:
    whole = whole_run(run)
    return f"menndl-{whole.name}" if whole == run else f"menndl-{whole.name}-{run.name}"


def _driver_site(site: Site) -> Site:
    """Return the site of the driver's job: one node without GPUs, or all nodes where the workers are in it too."""
    jobqueue = {**site.jobqueue, **site.driver}
    if site.kind == ALLOCATION:
        return replace(site, kind=site.system, batch=None, jobqueue=jobqueue)
    return replace(
        site, jobqueue=jobqueue, nodes_per_job=1, gpus_per_node=0, gpu_vendor=None, workers_per_node=1,
        trainers_per_gpu=1, launcher="", tls=False,
    )  # fmt: skip


def site_of(profile_name: str) -> Site:
    """Return the site of a profile whose batch system can hold drivers.

    Raises
    ------
    ProfileError
        If it is none.
    """
    profile = read_profile(profile_name)
    if not isinstance(profile, Site):
        kind = type(profile).__name__.lower()
        raise ProfileError(f"--detach: expected the profile of a batch system, got one of kind {kind}")
    if not SYSTEMS[profile.system].after:
        told = f"expected a batch system whose jobs can wait for each other, got {profile.system}"
        raise ProfileError(f"--detach: {told}")
    return profile


def _own_number(environment: Mapping[str, str]) -> str | None:
    number = next((environment[name] for name in _NUMBERS if environment.get(name)), None)
    return None if number is None else number.partition(".")[0]


def _results(run: Path) -> int:
    """Return how many results are in the run's journal."""
    path = run / "journal.jsonl"
    return sum(1 for _ in read_journal(path, "told")) if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
