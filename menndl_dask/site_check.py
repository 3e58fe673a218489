"""The check of a cluster profile: one job, what its workers find, and what is wrong. Runs on the driver."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from distributed import Client

from menndl_dask.batch_system import FOR_EVER
from menndl_dask.cluster import load_cluster
from menndl_dask.detached import queued
from menndl_dask.node import Finding, look, own_versions
from menndl_dask.profile import Local, Profile
from menndl_dask.site import Site
from menndl_dask.words import counted, duration

_POLL_S = 0.5
_REST_S = 60.0  # in which the other workers of a job follow the first one
_LOOK_S = 900.0
_ROOM_GB = 5.0
_SHOWN = 8  # workers of which each is told


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of starting one job.

    Parameters
    ----------
    findings
        Of each worker.
    expected
        How many workers there should be.
    start_s
        Seconds until the first worker was there.
    silence
        Why there is none, in words.
    """

    findings: tuple[Finding, ...]
    expected: int
    start_s: float
    silence: str = ""


def examine(profile: Profile, wait_s: float) -> Examination:
    """Start one job of a profile and look at its workers.

    Parameters
    ----------
    profile
        Which.
    wait_s
        Seconds to wait for the first worker.
    """
    one = replace(profile, jobs=1) if isinstance(profile, Site) else profile
    expected = one.shape().tasks if isinstance(one, Site) else 1
    began = time.monotonic()
    with load_cluster(one) as cluster, cluster.client() as client:
        silence = _await_workers(client, 1, wait_s)
        started = time.monotonic() - began
        if silence:
            return Examination((), expected, started, _why(one, client, silence))
        if isinstance(one, Local):
            expected = len(client.nthreads())
        _await_workers(client, expected, _REST_S)
        futures = [client.submit(look, workers=[address], pure=False) for address in client.nthreads()]
        findings = client.gather(futures, direct=False) if not _late(futures) else []
    return Examination(tuple(sorted(findings, key=lambda finding: finding.worker)), expected, started)


def report(profile: Profile, examination: Examination) -> tuple[str, bool]:
    """Return what is to be told about a job's workers, and whether all is well."""
    lines = list(_found(examination))
    wrong = list(_wrong(profile, examination))
    lines += ["", *(f"WRONG: {text}" for text in wrong)] if wrong else ["", "All is well."]
    return "\n".join(lines), not wrong


def _found(examination: Examination) -> Iterator[str]:
    findings = examination.findings
    if not findings:
        return
    hosts = Counter(finding.host for finding in findings)
    there = f"{len(findings)} of {examination.expected} workers on {counted(len(hosts), 'node')}"
    yield f"{there}, the first after {duration(examination.start_s)}"
    for finding in findings[:_SHOWN]:
        seen = ", ".join(f"{name}={value}" for name, value in finding.visible.items()) or "no variable of GPUs"
        keras = finding.trouble or f"Keras on {finding.backend} computes on {finding.device or 'an unknown device'}"
        yield f"  {finding.worker} on {finding.host}: {seen}"
        yield f"    {keras} (after {duration(finding.keras_s)})"
        yield f"    writes to {finding.directory} ({finding.file_system}, {finding.free_gb:.0f} GB free)"
    if len(findings) > _SHOWN:
        yield f"  and {len(findings) - _SHOWN} more"
    for host in hosts:
        gpus = next(finding.gpus for finding in findings if finding.host == host)
        yield f"  {host}: {'; '.join(gpus) if gpus else 'no program of a GPU driver answers'}"


def _wrong(profile: Profile, examination: Examination) -> Iterator[str]:
    findings = examination.findings
    if examination.silence or not findings:
        yield examination.silence or "no worker has answered"
        return
    if len(findings) < examination.expected:
        yield (
            f"expected {examination.expected} workers, got {len(findings)}: do the numbers of nodes and GPUs agree "
            "with the site, and does the launcher start a task for each?"
        )
    yield from (f"{found.worker}: Keras does not work there: {found.trouble}" for found in findings if found.trouble)
    has_gpus = profile.gpus_per_node if isinstance(profile, Site) else profile.gpus if isinstance(profile, Local) else 0
    if has_gpus:
        yield from _wrong_with_gpus(profile, findings)
    if any(finding.writes_far_away for finding in findings):
        far = next(finding for finding in findings if finding.writes_far_away)
        yield f"workers write to {far.directory}, a shared file system: set local_directory to a disk of the node"
    tight = [finding for finding in findings if finding.free_gb < _ROOM_GB]
    if tight:
        yield f"{tight[0].host}: only {tight[0].free_gb:.1f} GB free in {tight[0].directory}; images are staged there"
    ours = own_versions()
    theirs = {pair for finding in findings for pair in finding.versions.items()}
    for name, number in sorted(theirs - set(ours.items())):
        yield f"workers have {name} {number}, the driver has {ours.get(name)}: activate the same environment in the job"


def _wrong_with_gpus(profile: Profile, findings: Sequence[Finding]) -> Iterator[str]:
    working = [finding for finding in findings if not finding.trouble]
    slow = [finding.worker for finding in working if not finding.is_on_gpu]
    if slow:
        yield (
            f"Keras computes on the CPU in {', '.join(slow[:3])}{' and others' if len(slow) > 3 else ''}: "
            "is its backend installed with GPU support, and does the job load what that needs?"
        )
    if isinstance(profile, Site) and profile.shape().threads > 1:
        return
    shared = Counter((finding.host, *sorted(finding.visible.items())) for finding in findings)
    for (host, *variables), count in shared.items():
        if count > getattr(profile, "trainers_per_gpu", 1):
            seen = ", ".join("=".join(pair) for pair in variables) or "all GPUs"
            yield f"{count} workers on {host} see the same: {seen}; each should see a GPU of its own"


def _await_workers(client: Client, count: int, wait_s: float) -> str:
    """Wait for workers; return why there are fewer, in words, or nothing."""
    began = time.monotonic()
    deadline = began + wait_s
    while len(client.nthreads()) < count:
        trouble = getattr(client.cluster, "trouble", None)
        if trouble:
            return str(trouble)
        now = time.monotonic()
        if now > deadline or FOR_EVER in getattr(client.cluster, "waits_for", ""):
            return f"no worker after {duration(now - began)}"
        time.sleep(_POLL_S)
    return ""


def _why(profile: Profile, client: Client, silence: str) -> str:
    """Return what is known about a job that has brought no worker."""
    if not isinstance(profile, Site) or getattr(client.cluster, "trouble", None):
        return silence
    from menndl_dask.batch import printed  # loads dask-jobqueue

    jobs = list(getattr(client.cluster, "workers", {}).values())
    alive = queued(profile, [str(job.job_id) for job in jobs])
    waiting = [f"job {number} waits in the queue: {reason}" for number, reason in alive.items() if reason]
    if waiting:
        if FOR_EVER in " ".join(waiting):
            return f"{silence}; {', '.join(waiting)}"
        return f"{silence}; {', '.join(waiting)}. That is the batch system's own word for why; wait longer (--wait)?"
    if alive:
        address = getattr(client.scheduler, "address", "the scheduler")
        return (
            f"{silence}; job {', '.join(alive)} is in the queue. If it still waits, wait longer (--wait). "
            f"If it runs, its workers do not reach {address}: set interface under jobqueue, or use kind allocation"
        )
    return f"{silence}; its job has left the queue{''.join(map(printed, jobs))}"


def _late(futures: Sequence[object]) -> bool:
    from distributed import wait

    done, _ = wait(list(futures), timeout=_LOOK_S)
    return len(done) < len(futures)
