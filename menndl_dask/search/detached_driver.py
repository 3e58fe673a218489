"""A detached driver: a chain of batch jobs that drive a search until its budget is spent. Runs on the driver.

Login nodes forbid long processes, and batch jobs end. So each job begins by submitting its successor, which the batch
system starts when the job has ended for whatever reason. The last job cancels its successor.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from menndl_dask import files
from menndl_dask.cluster.batch.batch_system import SYSTEMS
from menndl_dask.cluster.batch.queue import queued
from menndl_dask.cluster.batch.site import ALLOCATION, Site
from menndl_dask.cluster.profile import read_profile
from menndl_dask.environment import JOB_START
from menndl_dask.errors import FINISHED, ExitCode, ProfileError, RunError, reading
from menndl_dask.run import stop_request
from menndl_dask.run.journal import read_journal
from menndl_dask.run.layout import whole_run
from menndl_dask.run.signature import is_signed, sign
from menndl_dask.validation import parse_json, read, shown

logger = logging.getLogger(__name__)

_FILE, _DRIVERS = "detached.json", "drivers.txt"
_NUMBERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "OAR_JOB_ID", "JOB_ID")
_NUMBER = re.compile(r"[0-9][\w.\[\]-]*")  # of a job: no option of the command that cancels it
_STANDSTILLS = 3  # jobs in a row without a result, after which no successor is submitted
_ANSWER_S = 60


@dataclass(frozen=True, slots=True)
class Detached:
    """How to start the detached drivers of a run, as recorded in the run directory."""

    profile: str  # path or name of the cluster profile
    command: tuple[str, ...]  # of a driver
    directory: str  # in which it runs
    signature: str = ""  # of the user who submitted the first job, see `menndl_dask.run.signature`

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """Read the record from a run directory; None if the run was never detached."""
        path = run / _FILE
        with reading(path, RunError):
            try:
                values = parse_json(files.read_text(path, root=whole_run(run)), str(path), RunError)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return read(cls, values, str(path), RunError)

    @property
    def is_own(self) -> bool:
        """Whether this user has submitted the jobs."""
        return is_signed(self._unsigned, self.signature)

    @property
    def digest(self) -> str:
        """Hash of the content, which stands on the command line of each job: the record cannot change what it runs."""
        return sha256(json.dumps(self._unsigned).encode()).hexdigest()

    @property
    def _unsigned(self) -> dict[str, Any]:
        return {"profile": self.profile, "command": list(self.command), "directory": self.directory}

    def signed(self) -> Self:
        """Return the record with the signature of this user."""
        return replace(self, signature=sign(self._unsigned))

    def write(self, run: Path) -> None:
        """Write the record into a run directory, in place of an earlier one."""
        files.write_text(run / _FILE, json.dumps(asdict(self), indent=1) + "\n", root=whole_run(run))


@dataclass(frozen=True, slots=True)
class Drivers:
    """The batch jobs of a run's drivers, as listed in a file of the run directory."""

    jobs: tuple[str, ...] = ()  # their numbers; the last one may still wait for the one before
    results: tuple[int, ...] = ()  # number of results in the run when each driver began

    @classmethod
    def read(cls, run: Path) -> Self:
        """Read the list from a run directory."""
        path = run / _DRIVERS
        with reading(path, RunError):
            text = files.read_text(path, root=whole_run(run)) if path.exists() else ""
            lines = [line.split() for line in text.splitlines() if line.strip()]
            jobs = dict.fromkeys(words[1] for words in lines if words[0] == "job")
            if wrong := [number for number in jobs if not _NUMBER.fullmatch(number)]:
                raise RunError(f"{path}: expected the numbers of jobs, got {shown(wrong[0])}")
            return cls(tuple(jobs), tuple(int(words[1]) for words in lines if words[0] == "began"))

    @staticmethod
    def add(run: Path, what: str, number: object) -> None:
        """Append an entry: the number of a ``job``, or the number of results when a driver ``began``."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        path = run / _DRIVERS
        try:
            with os.fdopen(files.open_regular(path, flags, root=whole_run(run)), "a", encoding="utf-8") as file:
                file.write(f"{what} {number}\n")
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error

    @property
    def stand_still(self) -> bool:
        """Whether the last few drivers got no result."""
        return len(self.results) >= _STANDSTILLS and len(set(self.results[-_STANDSTILLS:])) == 1


def detach(run: Path, profile: str, command: Sequence[str]) -> str:
    """Submit the driver of a run as a batch job; return the job's number.

    The run directory is created if it does not exist. The batch system of the profile runs the driver too, by its
    command line, in the current directory.

    Raises
    ------
    ProfileError
        If the profile has no batch system, or the batch system refuses the job.
    RunError
        If a driver of the run is in the queue already.
    """
    site = site_of(profile)
    if alive := queued(site.system, Drivers.read(run).jobs):
        raise RunError(f"{run}: has a driver in the queue already: job {', '.join(alive)}; menndl stop {run}")
    before = Detached.read(run)
    place = str(Path(profile).resolve()) if Path(profile).is_file() else profile
    detached = Detached(place, tuple(command), str(Path.cwd())).signed()
    try:
        files.new_folder(run)
        stop_request.withdraw(run)
        (run / _DRIVERS).unlink(missing_ok=True)
        detached.write(run)  # first: the job may begin at once
    except OSError as error:
        raise RunError(f"{error.filename or run}: cannot be written: {error.strerror}") from error
    try:
        return _submit(site, run, detached.digest, after=None)
    except ProfileError:  # the status must not show a driver that was never submitted
        (run / _FILE).unlink() if before is None else before.write(run)
        raise


def cancel(site: Site, numbers: Iterable[str]) -> None:
    """Cancel jobs; jobs that have ended are ignored."""
    from menndl_dask.cluster.batch.multi_node_cluster import cluster_class

    command = shlex.split(cluster_class(site.system).job_cls.cancel_command)
    for number in numbers:
        subprocess.run([*command, number], capture_output=True, timeout=_ANSWER_S, check=False)


def cancel_command(site: Site, numbers: Iterable[str]) -> str:
    """Return the command that cancels jobs, for a user to type."""
    from menndl_dask.cluster.batch.multi_node_cluster import cluster_class

    return f"{cluster_class(site.system).job_cls.cancel_command} {shlex.join([*numbers])}"


def driver_script(site: Site, run: Path, digest: str = "") -> str:
    """Return the job script of a driver; `digest` is that of its record."""
    return str(_job(site, run, digest).job_script())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a driver's batch job: submit the successor, run the driver, cancel the successor if it is not needed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s menndl_dask.search.detached_driver: %(message)s")
    word, *digest = sys.argv[1:] if arguments is None else arguments  # without a digest: of a version before 0.4.0
    run = Path(word)
    detached = Detached.read(run)
    if detached is None:
        logger.error("%s: expected a run that was detached, got no %s", run, _FILE)
        return ExitCode.USER_ERROR
    if digest and digest[0] != detached.digest:
        logger.error("%s: %s is not what it was when its job was submitted", run, _FILE)
        return ExitCode.USER_ERROR
    if stop_request.is_asked(run):
        logger.info("%s was asked to stop", run)
        return 0
    site = site_of(detached.profile)
    results = _results(run)
    successor = _succeed(site, run, detached.digest, results)
    ended = _drive(detached, site)
    logger.info("the driver has ended with status %d", ended)
    failed = ended not in (*FINISHED, ExitCode.STOPPED, -signal.SIGTERM) and _results(run) == results
    if successor is not None and (ended in FINISHED or failed or stop_request.is_asked(run)):
        cancel(site, [successor])
    stop_request.withdraw(run)
    return max(ended, 0)


def _succeed(site: Site, run: Path, digest: str, results: int) -> str | None:
    """Record that a driver begins and submit its successor; return the number of the successor's job.

    None if the last drivers got no result, or if there is a successor already.
    """
    own = next((number for name in _NUMBERS if (number := os.environ.get(name))), "").partition(".")[0] or None
    if own is not None:
        Drivers.add(run, "job", own)
    Drivers.add(run, "began", results)
    drivers = Drivers.read(run)
    if drivers.stand_still:
        logger.error("the last %d drivers got no result; no other is submitted", _STANDSTILLS)
        return None
    if own is None or [number for number in queued(site.system, drivers.jobs) if number != own]:
        return None
    return _submit(site, run, digest, after=own)


def _drive(detached: Detached, site: Site) -> int:
    """Run the driver and return its exit status; SIGTERM, which the batch system sends at the end, is passed on."""
    own = _driver_site(site)
    began = float(os.environ.get(JOB_START) or time.time())
    ends = began + (math.inf if own.walltime_s is None else own.walltime_s - own.retirement_s)
    environment = {**os.environ, stop_request.DRIVER_ENDS: str(ends)}
    process = subprocess.Popen(detached.command, cwd=detached.directory, env=environment)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(signal.SIGTERM))
    return process.wait()


def _submit(site: Site, run: Path, digest: str, after: str | None) -> str:
    """Submit a driver's job, to begin when job `after` has ended, and record its number."""
    job = _job(site, run, digest)
    if after is not None:
        options = [word.format(job=after) for word in SYSTEMS[site.system].after]
        job.submit_command = f"{job.submit_command} {shlex.join(options)} "
    asyncio.run(job.start())
    if job.refused is not None:
        raise ProfileError(f"{site.file}: the batch system refused the driver's job: {job.refused}")
    Drivers.add(run, "job", job.job_id)
    return str(job.job_id)


def _job(site: Site, run: Path, digest: str) -> Any:
    from menndl_dask.cluster.batch.multi_node_cluster import cluster_class
    from menndl_dask.cluster.batch.site_cluster import job_keywords, prepare

    island = [] if whole_run(run) == run else [run.name]
    own = _driver_site(site)
    prepare(own)
    cls = cluster_class(own.system).job_cls
    name = re.sub(r"[^\w.+-]", "_", "-".join(["menndl", whole_run(run).name, *island]))  # a line of the job script
    keywords = job_keywords(own, cls) | {"job_name": name}
    job = cls("none", name="driver", site=own, layout=own.layout(), **keywords)
    record = [digest] if digest else []
    job._command_template = shlex.join([sys.executable, "-m", __spec__.name, str(run.resolve()), *record])
    return job


def _driver_site(site: Site) -> Site:
    """Return the site of the driver's job: one node without GPUs, or all nodes if the job holds the workers too."""
    jobqueue = {**site.jobqueue, **site.driver}
    if site.kind == ALLOCATION:
        return replace(site, kind=site.system, batch=None, jobqueue=jobqueue)
    return replace(
        site, jobqueue=jobqueue, nodes_per_job=1, gpus_per_node=0, gpu_vendor=None, workers_per_node=1,
        trainers_per_gpu=1, launcher="", tls=False,
    )  # fmt: skip


def site_of(profile_name: str) -> Site:
    """Return the site of a profile, for detached drivers.

    Raises
    ------
    ProfileError
        If the profile has no batch system, or one whose jobs cannot wait for each other.
    """
    profile = read_profile(profile_name)
    if not isinstance(profile, Site):
        kind = type(profile).__name__.lower()
        raise ProfileError(f"--detach: expected the profile of a batch system, got one of kind {kind}")
    if not SYSTEMS[profile.system].after:
        expected = "expected a batch system whose jobs can wait for each other"
        raise ProfileError(f"--detach: {expected}, got {profile.system}")
    return profile


def _results(run: Path) -> int:
    """Return how many results are in the run's journal."""
    path = run / "journal.jsonl"
    return sum(1 for _ in read_journal(path, "told")) if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
