"""The status of a run in a few lines, from its directory and its batch system. Runs anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from menndl_dask.cluster.batch.queue import queued
from menndl_dask.errors import ProfileError, RunError, reading
from menndl_dask.run import stop_request
from menndl_dask.run.journal import JOURNAL, holder
from menndl_dask.run.journal_repair import State, state_of
from menndl_dask.run.layout import folders_of
from menndl_dask.run.progress import Counts
from menndl_dask.run.run import Run
from menndl_dask.search.detached_driver import Detached, Drivers, site_of
from menndl_dask.search.islands.status import IslandStatus
from menndl_dask.text import counted, duration, fitness_text, printable

_HOUR_S = 3600.0
_NOTES = 5
_SILENT_S = 60.0  # islands tell something every few seconds


def status(path: Path) -> str:
    """Return how far a run is, what drives it, and what happened last; raises `RunError` if there is no run."""
    with reading(path, RunError):
        return "\n".join([f"run:        {path}", *_lines(path)])


def _lines(path: Path) -> Iterator[str]:
    islands = folders_of(path)
    detached = Detached.read(path)
    found = None
    try:
        found = Run(path)
    except RunError:
        if detached is None and not islands:
            raise
    counts = Counts(0.0, None if found is None else found.settings.get("evaluations"))
    for individual, result in () if found is None else found.evaluations:
        counts.add(individual, result)
    is_done = counts.asked is not None and counts.done >= counts.asked
    if not islands:
        yield f"driver:     {_driver(path, detached, is_done)}"
    elif (held := holder(path)) is not None:
        yield f"drivers:    looked after by {held}"
    for number, folder in islands.items():
        driver = _driver(folder, Detached.read(folder), is_done)
        yield f"{f'island {number}:':<11} {driver}{_island_status(folder, is_done)}"
    if found is None:
        yield "progress:   not begun"
        return
    yield from _progress(found, counts)
    yield from _damage(path)
    notes = found.notes[-_NOTES:]
    for number, note in enumerate(notes):
        when = time.strftime("%m-%d %H:%M", time.localtime(note["time"]))
        yield f"{'notes:' if number == 0 else '':<12}{when} {printable(str(note['message']), one_line=True)}"


def _damage(run: Path) -> Iterator[str]:
    """Yield what is wrong with the journals of a run, except of a last line that a driver is writing."""
    for folder in (run, *folders_of(run).values()):
        journal = folder / JOURNAL
        state = state_of(journal) if journal.is_file() else State()
        is_written = state.torn and state.damaged == 1 and holder(folder) is not None
        if not state.is_exact and not is_written:
            yield f"damage:     {journal}: {state.in_words()}; menndl doctor {run}"


def _island_status(island: Path, is_done: bool) -> str:
    """Return the last known status of an island, and whether its driver has been silent since."""
    found = IslandStatus.read(island)
    if found is None:
        return ""
    best = "" if found.best is None else f", best {fitness_text(found.best)}"
    silence = time.time() - IslandStatus.written_at(island)
    # who ends in order has no workers any more
    is_missing = not is_done and found.workers > 0 and silence > _SILENT_S
    missing = f"; NOT HEARD OF for {duration(silence)}, though it had not ended" if is_missing else ""
    return f"; {counted(found.results, 'evaluation')}{best}{missing}"


def _driver(path: Path, detached: Detached | None, is_done: bool) -> str:
    """Return who drives the run, or is going to."""
    parts = []
    held = holder(path)
    is_driven = held is not None
    if held:
        parts.append(f"running ({held})")
    if detached is not None:
        try:
            alive = queued(site_of(detached.profile).system, Drivers.read(path).jobs)
        except ProfileError as error:
            is_driven = True  # for all that is known
            parts.append(str(error))
        else:
            jobs = ", ".join(f"{number} ({reason})" if reason else number for number, reason in alive.items())
            is_driven = is_driven or bool(alive)
            parts.append(f"in the queue: job {jobs}" if alive else "none in the queue")
    if stop_request.is_asked(path):
        parts.append("asked to stop" if is_driven else "it was asked to stop")
    if not is_driven:
        parts.append("its budget is spent" if is_done else "the command that began the run carries on")
    return "; ".join(parts if is_driven or detached is not None else ["none", *parts])


def _progress(run: Run, counts: Counts) -> Iterator[str]:
    hours = run.settings.get("hours")
    budget = [f"of {counts.asked}" if counts.asked else "", f"in {hours:g} h at most" if hours else ""]
    yield " ".join(filter(None, [f"progress:   {counted(counts.done, 'evaluation')}", *budget]))
    best = "none yet" if counts.best is None else f"{fitness_text(counts.best)} (network {counts.best_id})"
    yield f"best:       {best}"
    if counts.stopped:
        yield f"stopped:    {counts.stopped} early, behind the others at a rung"
    if counts.failed:
        yield f"failures:   {', '.join(f'{number} × {kind}' for kind, number in counts.failed.most_common())}"
    if times := run.told_at.values():
        now = time.time()
        recent = sum(at > now - _HOUR_S for at in times)
        yield f"pace:       {recent} in the last hour, the last one {duration(max(0.0, now - max(times)))} ago"
