"""The status of a run in a few lines, from its directory and its batch system. Runs anywhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from menndl_dask import stop
from menndl_dask.detached import Detached, Drivers, queued, site_of
from menndl_dask.errors import ProfileError, RunError
from menndl_dask.island import News, folders_of
from menndl_dask.journal import holder
from menndl_dask.store import Run
from menndl_dask.table import duration, fitness_text

_HOUR_S = 3600.0
_NOTES = 5


def status(path: Path) -> str:
    """Return how far a run is, what drives it, and what happened last.

    Raises
    ------
    RunError
        If there is no run and none was submitted.
    """
    return "\n".join([f"run:        {path}", *_lines(path)])


def _lines(path: Path) -> Iterator[str]:
    islands = folders_of(path)
    detached = Detached.read(path)
    found: Run | None
    try:
        found = Run(path)
    except RunError:
        if detached is None and not islands:
            raise
        found = None
    if not islands:
        yield f"driver:     {_driver(path, detached)}"
    for number, folder in islands.items():
        yield f"{f'island {number}:':<11} {_driver(folder, Detached.read(folder))}{_news(News.read(folder))}"
    if found is None:
        yield "progress:   not begun"
        return
    yield from _progress(found)
    notes = found.notes[-_NOTES:]
    for number, note in enumerate(notes):
        when = time.strftime("%m-%d %H:%M", time.localtime(note["time"]))
        yield f"{'notes:' if number == 0 else '':<12}{when} {note['message']}"


def _news(news: News | None) -> str:
    """Return what an island told last of itself."""
    if news is None:
        return ""
    best = "" if news.best is None else f", best {fitness_text(news.best)}"
    return f"; {news.told} evaluations{best}"


def _driver(path: Path, detached: Detached | None) -> str:
    """Return who drives the run, or is going to."""
    parts = []
    held = holder(path)
    if held:
        parts.append(f"running ({held})")
    if detached is not None:
        try:
            alive = queued(site_of(detached.profile), Drivers.read(path).jobs)
        except ProfileError as error:
            parts.append(str(error))
        else:
            parts.append(f"in the queue: job {', '.join(alive)}" if alive else "none in the queue")
    if stop.is_asked(path):
        parts.append("asked to stop")
    return "; ".join(parts) or "none; the command that began the run carries on"


def _progress(run: Run) -> Iterator[str]:
    failures: Counter[str] = Counter()
    best, count = None, 0
    for _, result in run.evaluations:
        count += 1
        if result.failure is not None:
            failures[result.failure] += 1
        elif best is None or (result.fitness is not None and result.fitness > best):
            best = result.fitness
    asked, hours = run.settings.get("evaluations"), run.settings.get("hours")
    budget = [f"of {asked}" if asked else "", f"in {hours:g} h at most" if hours else ""]
    yield " ".join(filter(None, [f"progress:   {count} evaluations", *budget]))
    yield f"best:       {'none yet' if best is None else fitness_text(best)}"
    if failures:
        yield f"failures:   {', '.join(f'{number} × {kind}' for kind, number in failures.most_common())}"
    times = sorted(run.told_at.values())
    if times:
        now = time.time()
        recent = sum(1 for told in times if told > now - _HOUR_S)
        yield f"pace:       {recent} in the last hour, the last one {duration(max(0.0, now - times[-1]))} ago"
