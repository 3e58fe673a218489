"""The cluster of a site: a scheduler in this process, and batch jobs with workers. Runs on the driver."""

from __future__ import annotations

import inspect
import logging
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distributed.security import Security

from menndl_dask import files
from menndl_dask.cluster.batch.allocation import AllocationCluster
from menndl_dask.cluster.batch.batch_system import SYSTEMS, with_quoted
from menndl_dask.cluster.batch.dask_jobqueue import Job, JobQueueCluster, dask_jobqueue
from menndl_dask.cluster.batch.multi_node_cluster import MultiNodeCluster, cluster_class
from menndl_dask.cluster.batch.site import ALLOCATION, Site
from menndl_dask.cluster.credentials import temporary_credentials
from menndl_dask.cluster.ports import LOOPBACK, free_port, raise_file_limit
from menndl_dask.errors import ProfileError, nearest, one_line
from menndl_dask.program.interruption import at_once, kept_from_children
from menndl_dask.text import duration

logger = logging.getLogger(__name__)

_CANCEL_S = 10  # for the batch system to cancel jobs when the program ends at once
_TRIAL_BYTES = 2**15  # as many as credentials and the output of a job need


@contextmanager
def site_cluster(site: Site) -> Iterator[MultiNodeCluster]:
    """Start a scheduler and submit the jobs of a site, for the time of a ``with`` statement.

    Raises
    ------
    ProfileError
        If a keyword is unknown, or the batch system refuses a job.
    """
    prepare(site)
    raise_file_limit()
    for line in remarks(site):
        logger.info("%s", line)
    if not site.tls:
        logger.warning("tls: false: each user who can connect to the scheduler or a worker can run programs as you")
    with ExitStack() as stack:
        security = stack.enter_context(temporary_credentials(site.directory)) if site.tls else None
        try:
            with _one_line_for(site), kept_from_children():
                cluster = make_cluster(site, security)
        except RuntimeError as error:
            hint = ""
            if "network interface" in str(error):
                hint = "; where only the nodes of jobs have it, name this machine's: scheduler_options: {interface: …}"
            message = f"the scheduler does not start on this machine: {error}{hint}"
            raise ProfileError(f"{site.file}: jobqueue: {message}") from error
        stack.callback(cluster.close, timeout=60)
        stack.enter_context(at_once(partial(_cancel_jobs, cluster)))
        least, most = (site.jobs, site.jobs) if isinstance(site.jobs, int) else site.jobs
        refused = cluster.sync(cluster.ask_for, least)
        if refused is not None:
            raise ProfileError(f"{site.file}: the batch system refused a job: {refused}")
        if not isinstance(site.jobs, int):
            cluster.adapt(minimum_jobs=least, maximum_jobs=most, interval="5s", wait_count=12)
        yield cluster


def _cancel_jobs(cluster: MultiNodeCluster) -> None:
    """Cancel the jobs of a cluster whose event loop is not waited for; those of an allocation are child processes."""
    jobs = [job for job in cluster.workers.values() if job.job_id is not None and job.cancel_command]
    if jobs:
        command = [*shlex.split(jobs[0].cancel_command), *(str(job.job_id) for job in jobs)]
        subprocess.run(command, capture_output=True, timeout=_CANCEL_S, check=False)


def job_script(site: Site) -> str:
    """Return the job script of a site, with placeholders in angle brackets for values of a running cluster."""
    check_keywords(site)
    security = None
    if site.tls:
        paths = {"tls_ca_file": "<ca>", "tls_worker_cert": "<certificate>", "tls_worker_key": "<key>"}
        security = Security(require_encryption=True, **paths)
    job: Any = cluster_class(site.system).job_cls
    protocol = "tls://" if site.tls else None
    keywords = job_keywords(site, job)
    with TemporaryDirectory() as folder, _one_line_for(site):  # dask-jobqueue makes the folder of the output
        made = job(
            f"{protocol or 'tcp://'}<scheduler>", name="<job>", site=site, layout=site.layout(), security=security,
            protocol=protocol, **keywords | {"log_directory": folder},
        )  # fmt: skip
        script = str(made.job_script()).replace(folder, keywords["log_directory"])
        return with_quoted(script, keywords["log_directory"])


@contextmanager
def _one_line_for(site: Site) -> Iterator[None]:
    """Tell in a line what dask-jobqueue says of keywords whose values it cannot use."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ProfileError(f"{site.file}: jobqueue: dask-jobqueue cannot use it: {one_line(error)}") from error


def prepare(site: Site) -> None:
    """Check a site before jobs are submitted, and make its shared directory and the folder for the output of jobs.

    Raises
    ------
    ProfileError
        If a keyword is unknown, a placeholder is not filled in, or a folder cannot be made or written to.
    """
    check_keywords(site)
    for key, text in unfilled_keys(site):
        raise ProfileError(f"{site.file}: {key}: copy the profile and fill it in: expected yours in place of {text}")
    for folder in (site.directory, Path(_keywords(site)["log_directory"])):
        if defect := files.make_folder(folder, _TRIAL_BYTES):
            raise ProfileError(f"{site.file}: shared_directory: {defect}")


def make_cluster(site: Site, security: Security | None = None) -> MultiNodeCluster:
    """Return a cluster with a running scheduler and no jobs yet."""
    port = None if site.dashboard_port is None else free_port([site.dashboard_port], LOOPBACK)
    options: dict[str, Any] = {"dashboard": port is not None, "dashboard_address": f"{LOOPBACK}:{port or 0}"}
    if site.ports is not None:
        options["port"] = free_port(range(site.ports[0], site.ports[1] + 1))
    keywords = _keywords(site)
    keywords["scheduler_options"] = {**options, **keywords.get("scheduler_options", {})}
    if site.kind == ALLOCATION:
        return AllocationCluster(site=site, security=security, **keywords)
    return cluster_class(site.system)(site=site, layout=site.layout(), security=security, **keywords)


def check_keywords(site: Site) -> None:
    """Check the names of the keywords of a site against those of dask-jobqueue; raises `ProfileError`."""
    own: Any = getattr(dask_jobqueue, SYSTEMS[site.system].cluster)
    known = {
        name
        for cls in (own.job_cls, Job, JobQueueCluster)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    for where, keywords in (("jobqueue", site.jobqueue), ("driver", site.driver)):
        for name in keywords:
            if name not in known:
                is_ours = name in {entry.name for entry in fields(Site)}
                near = "; it belongs beside jobqueue, not in it" if is_ours else nearest(name, known)
                message = f"unknown keyword {name!r} for dask-jobqueue's {own.__name__}{near}"
                raise ProfileError(f"{site.file}: {where}: {message}")


def remarks(site: Site) -> list[str]:
    """Return what a user may not expect: how long a job may run, and what stands in another file than the profile."""
    lines = []
    if site.walltime_s is not None:
        ends = f"workers accept no evaluation in the last {duration(site.retirement_s)}"
        said = f"walltime {site.walltime}"
        if "walltime" not in site.jobqueue:
            said = f"no walltime is given, dask-jobqueue asks for {site.walltime}"
        lines.append(f"{said}: a job may run for {duration(site.walltime_s)}; {ends}")
    if site.added:
        lines.append(f"from {site.added_from}, since the profile has none: {', '.join(site.added)}")
    return lines


def unfilled_keys(site: Site) -> list[tuple[str, str]]:
    """Return the keys of a profile whose values have placeholders in angle brackets, each with its placeholder."""
    values = {"shared_directory": site.shared_directory}
    values |= {f"jobqueue: {name}": str(value) for name, value in site.jobqueue.items()}
    values |= {f"driver: {name}": str(value) for name, value in site.driver.items()}
    return [(key, text) for key, value in values.items() for text in re.findall(r"<[^<>]+>", value)]


def job_keywords(site: Site, job: Any) -> dict[str, Any]:
    """Return the keywords of a site that a job class accepts, without those for the cluster."""
    accepted = {name for cls in job.__mro__ for name in inspect.signature(cls.__init__).parameters}
    return {name: value for name, value in _keywords(site).items() if name in accepted}


def _keywords(site: Site) -> dict[str, Any]:
    always = {"log_directory": str(site.directory / "jobs"), "job_name": "menndl"}
    keywords = {**always, **({"walltime": site.walltime} if site.walltime else {}), **site.jobqueue}
    folder = Path(os.path.expandvars(keywords["log_directory"])).expanduser()  # batch systems do neither
    return keywords | {"log_directory": str(folder)}
