"""The resources of each island: its share of the workers, and of this machine's GPUs. Runs on the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from menndl_dask.cluster.batch.site import ALLOCATION, Site
from menndl_dask.cluster.local_workers import LocalWorkers
from menndl_dask.cluster.node.gpu import gpu_visibility_variables
from menndl_dask.cluster.profile import Profile, Scheduler
from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import UserError


@dataclass(frozen=True, slots=True)
class IslandResources:
    """What one of several islands may use."""

    workers: int | None = None  # None for as many as the profile says
    # variables of its driver; those that are None are removed
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """Arguments to add to the command of its driver."""
        return [] if self.workers is None else ["--workers", str(self.workers)]


def island_resources(
    profile: Profile, workers: int | None, islands: int, *, is_detached: bool = False
) -> list[IslandResources]:
    """Return the resources of each island; `is_detached` says whether each driver is a batch job of its own.

    `workers` is their number for all islands together. On a batch system, each island asks for all workers of the
    profile if it is None.

    Raises
    ------
    UserError
        If the profile has workers that cannot be shared out, or fewer GPUs than islands.
    """
    is_one = isinstance(profile, Site) and profile.kind == ALLOCATION and not is_detached
    if isinstance(profile, Scheduler) or is_one:
        hint = "start each driver with --island and a scheduler or an allocation of its own, or use --detach"
        raise UserError(f"--islands: expected a profile that starts workers for each island; {hint}")
    if isinstance(profile, Site):
        shares = dealt(workers, islands) if workers else [None] * islands
        return [IslandResources(share) for share in shares]
    cores = len(os.sched_getaffinity(0))
    local = LocalWorkers(profile)
    counts = dealt(workers or local.count, islands)
    threads = {TRAINING_THREADS: os.environ.get(TRAINING_THREADS) or str(max(1, cores // sum(counts)))}
    if local.gpus is None:
        return [IslandResources(count, threads) for count in counts]
    devices = local.gpus.ids
    if len(devices) < islands:
        raise UserError(f"--islands: expected at most one for each GPU of this machine ({len(devices)}), got {islands}")
    own = [devices[number::islands] for number in range(islands)]
    if not (workers or profile.workers):
        counts = [len(each) * local.count // len(devices) for each in own]
    pins = [gpu_visibility_variables(local.gpus.vendor, each) for each in own]
    return [IslandResources(count, {**threads, **pin}) for count, pin in zip(counts, pins, strict=True)]


def dealt(workers: int, islands: int) -> list[int]:
    """Return the number of workers of each island; at least one.

    >>> dealt(8, 3), dealt(2, 3)
    ([3, 3, 2], [1, 1, 1])
    """
    return [max(1, workers // islands + (number < workers % islands)) for number in range(islands)]
