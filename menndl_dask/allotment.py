"""The allotment: what each of several islands gets of the workers that there are. Runs on the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from menndl_dask.device import pinned, visible
from menndl_dask.environment import TRAINING_THREADS
from menndl_dask.errors import UserError
from menndl_dask.profile import Profile, Scheduler
from menndl_dask.site import ALLOCATION, Site


@dataclass(frozen=True, slots=True)
class IslandResources:
    """What one of several islands gets.

    Parameters
    ----------
    workers
        Its workers; nothing: as many as the profile says.
    environment
        Variables of its driver; those that are nothing are removed.
    """

    workers: int | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What is added to the command of its driver."""
        return [] if self.workers is None else ["--workers", str(self.workers)]


def island_resources(
    profile: Profile, workers: int | None, islands: int, *, is_detached: bool = False
) -> list[IslandResources]:
    """Return what each island gets: of this machine, or of the workers that were asked for.

    Parameters
    ----------
    profile
        Of the cluster; on a batch system without a number of workers each island asks for all that it says.
    workers
        For all islands together.
    islands
        How many there are.
    is_detached
        Whether each driver is a batch job of its own.

    Raises
    ------
    UserError
        If there is nothing to share.
    """
    is_one = isinstance(profile, Site) and profile.kind == ALLOCATION and not is_detached
    if isinstance(profile, Scheduler) or is_one:
        told = "start each driver with --island and a scheduler or an allocation of its own, or use --detach"
        raise UserError(f"--islands: expected a profile that starts workers for each island; {told}")
    if isinstance(profile, Site):
        counts = dealt(workers, islands) if workers else [None] * islands
        return [IslandResources(count) for count in counts]
    cores = len(os.sched_getaffinity(0))
    slots = profile.gpus * profile.trainers_per_gpu
    counts = dealt(workers or profile.workers or slots or cores, islands)
    threads = {TRAINING_THREADS: os.environ.get(TRAINING_THREADS) or str(max(1, cores // sum(counts)))}
    if profile.gpu_vendor is None:
        return [IslandResources(count, threads) for count in counts]
    devices = visible(os.environ, profile.gpu_vendor, profile.gpus)
    if len(devices) < islands:
        raise UserError(f"--islands: expected at most one for each GPU of this machine ({len(devices)}), got {islands}")
    own = [devices[number::islands] for number in range(islands)]
    if not (workers or profile.workers):
        counts = [len(each) * profile.trainers_per_gpu for each in own]
    pins = [pinned(profile.gpu_vendor, each) for each in own]
    return [IslandResources(count, {**threads, **pin}) for count, pin in zip(counts, pins, strict=True)]


def dealt(workers: int, islands: int) -> list[int]:
    """Return how many workers each island gets; at least one.

    >>> dealt(8, 3), dealt(2, 3)
    ([3, 3, 2], [1, 1, 1])
    """
    return [max(1, workers // islands + (number < workers % islands)) for number in range(islands)]
