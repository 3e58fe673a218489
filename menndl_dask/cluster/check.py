"""The check of a cluster profile: start one job, inspect its workers, and report problems. Runs on the driver."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from distributed import Client, wait

from menndl_dask.cluster.batch.batch_system import FOR_EVER
from menndl_dask.cluster.batch.queue import queued
from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.local_workers import LocalWorkers
from menndl_dask.cluster.node.diagnostics import NodeReport, inspect_node, own_versions
from menndl_dask.cluster.profile import Local, Profile
from menndl_dask.text import counted, duration

_POLL_S = 0.5
_REST_S = 60.0  # seconds to wait for the other workers after the first one
_INSPECTION_S = 900.0
_FREE_GB = 5.0  # least free space for staged images
_SHOWN = 8  # largest number of workers that are listed


@dataclass(frozen=True, slots=True)
class ProfileCheck:
    """The workers of one job that was started for a check."""

    reports: tuple[NodeReport, ...]
    expected: int  # number of workers
    start_s: float  # seconds until the first worker was connected
    no_worker_reason: str = ""  # empty if there is a worker


def check_profile(profile: Profile, wait_s: float) -> ProfileCheck:
    """Start one job of a profile, wait up to `wait_s` seconds for its first worker, and inspect its workers."""
    one, expected = profile, 1
    if isinstance(profile, Site):
        one, expected = replace(profile, jobs=1), profile.layout().tasks
    began = time.monotonic()
    with load_cluster(one) as cluster, cluster.client() as client:
        no_worker_reason = _await_workers(client, 1, wait_s)
        started = time.monotonic() - began
        if no_worker_reason:
            return ProfileCheck((), expected, started, _why(one, client, no_worker_reason))
        if isinstance(one, Local):
            expected = len(client.nthreads())
        _await_workers(client, expected, _REST_S)
        futures = [client.submit(inspect_node, workers=[address], pure=False) for address in client.nthreads()]
        reports: list[NodeReport] = []
        with suppress(TimeoutError):
            wait(futures, timeout=_INSPECTION_S)
            reports = client.gather(futures, direct=False)
    return ProfileCheck(tuple(sorted(reports, key=lambda report: report.worker)), expected, started)


def describe(profile: Profile, check: ProfileCheck) -> tuple[str, bool]:
    """Return the text of a check, and whether it has found no problem."""
    wrong = [f"WRONG: {text}" for text in _wrong(profile, check)]
    return "\n".join([*_found(check), "", *(wrong or ["All is well."])]), not wrong


def _found(check: ProfileCheck) -> Iterator[str]:
    reports = check.reports
    if not reports:
        return
    gpus = {report.host: report.gpus for report in reports}
    there = f"{len(reports)} of {check.expected} workers on {counted(len(gpus), 'node')}"
    yield f"{there}, the first after {duration(check.start_s)}"
    for report in reports[:_SHOWN]:
        seen = ", ".join(f"{name}={value}" for name, value in report.visible.items()) or "no variable of GPUs"
        keras = report.error or f"Keras on {report.backend} computes on {report.device or 'an unknown device'}"
        yield f"  {report.worker} on {report.host}: {seen}"
        yield f"    {keras} (after {duration(report.keras_s)})"
        yield f"    writes to {report.directory} ({report.file_system}, {report.free_gb:.0f} GB free)"
    if len(reports) > _SHOWN:
        yield f"  and {len(reports) - _SHOWN} more"
    for host, lines in gpus.items():
        yield f"  {host}: {'; '.join(lines) or 'no program of a GPU driver answers'}"


def _wrong(profile: Profile, check: ProfileCheck) -> Iterator[str]:
    reports = check.reports
    if check.no_worker_reason or not reports:
        yield check.no_worker_reason or "no worker has answered"
        return
    if len(reports) < check.expected:
        yield (
            f"expected {check.expected} workers, got {len(reports)}: do the numbers of nodes and GPUs agree "
            "with the site, and does the launcher start a task for each?"
        )
    yield from (f"{found.worker}: Keras does not work there: {found.error}" for found in reports if found.error)
    on_site = isinstance(profile, Site) and profile.gpus_per_node > 0
    if on_site or (isinstance(profile, Local) and LocalWorkers(profile).gpus is not None):
        yield from _wrong_with_gpus(profile, reports)
    if far := [report.directory for report in reports if report.writes_to_shared_disk]:
        yield f"workers write to {far[0]}, a shared file system: set local_directory to a disk of the node"
    if tight := [report for report in reports if report.free_gb < _FREE_GB]:
        yield f"{tight[0].host}: only {tight[0].free_gb:.1f} GB free in {tight[0].directory}; images are staged there"
    ours = own_versions()
    theirs = {pair for report in reports for pair in report.versions.items()}
    for name, number in sorted(theirs - set(ours.items())):
        yield f"workers have {name} {number}, the driver has {ours.get(name)}: activate the same environment in the job"


def _wrong_with_gpus(profile: Profile, reports: Sequence[NodeReport]) -> Iterator[str]:
    if slow := [report.worker for report in reports if not report.error and not report.is_on_gpu]:
        yield (
            f"Keras computes on the CPU in {', '.join(slow[:3])}{' and others' if len(slow) > 3 else ''}: "
            "is its backend installed with GPU support, and does the job load what that needs?"
        )
    if isinstance(profile, Site) and profile.layout().threads > 1:
        return
    shared = Counter((report.host, *sorted(report.visible.items())) for report in reports)
    for (host, *variables), count in shared.items():
        if count > getattr(profile, "trainers_per_gpu", 1):
            seen = ", ".join("=".join(pair) for pair in variables) or "all GPUs"
            yield f"{count} workers on {host} see the same: {seen}; each should see a GPU of its own"


def _await_workers(client: Client, count: int, wait_s: float) -> str:
    """Wait for workers; return why there are fewer, or an empty text."""
    began = time.monotonic()
    while len(client.nthreads()) < count:
        if trouble := getattr(client.cluster, "trouble", None):
            return str(trouble)
        waited = time.monotonic() - began
        if waited > wait_s or FOR_EVER in getattr(client.cluster, "waits_for", ""):
            return f"no worker after {duration(waited)}"
        time.sleep(_POLL_S)
    return ""


def _why(profile: Profile, client: Client, reason: str) -> str:
    """Return what is known about a job without workers."""
    if not isinstance(profile, Site) or getattr(client.cluster, "trouble", None):
        return reason
    from menndl_dask.cluster.batch.multi_node_cluster import printed  # loads dask-jobqueue

    jobs = list(getattr(client.cluster, "workers", {}).values())
    alive = queued(profile.system, [str(job.job_id) for job in jobs])
    waiting = ", ".join(f"job {number} waits in the queue: {why}" for number, why in alive.items() if why)
    if waiting:
        hint = ". That is the batch system's own word for why; wait longer (--wait)?"
        return f"{reason}; {waiting}{'' if FOR_EVER in waiting else hint}"
    if alive:
        address = getattr(client.scheduler, "address", "the scheduler")
        return (
            f"{reason}; job {', '.join(alive)} is in the queue. If it still waits, wait longer (--wait). "
            f"If it runs, its workers do not reach {address}: set interface under jobqueue, or use kind allocation"
        )
    return f"{reason}; its job has left the queue{''.join(map(printed, jobs))}"
