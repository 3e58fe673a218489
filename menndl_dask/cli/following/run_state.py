"""The state of a run, read from its directory: for ``menndl status --json`` and ``menndl watch``. Runs anywhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from menndl_dask.errors import RunError, reading
from menndl_dask.run.journal import holder
from menndl_dask.run.layout import folders_of
from menndl_dask.run.progress import Counts
from menndl_dask.run.run import Run

_HOUR_S = 3600.0
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is at a moment. Times are in seconds since the epoch."""

    path: Path
    at: float
    driver: str | None  # what drives it: host and process; None if it is not driven
    counts: Counts
    bests: list[float]  # best fitness so far after each evaluation that has succeeded
    hours: float | None
    last_at: float | None  # when the last result arrived
    in_the_last_hour: int
    trained_again: int  # trainings of comparisons
    dashboard: str  # address on the host of the driver; empty if it has none
    host: str
    notes: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the state of a run; raises `RunError` if there is none."""
        with reading(path, RunError):
            run = Run(path)
            starts = run.starts
            settings = run.settings
            began = starts[-1]["time"] if starts else 0.0
            counts = Counts(began, settings.get("evaluations"), _deadline(run, began, settings.get("hours")))
            arrived, bests = run.told_at, []
            for individual, result in run.evaluations:
                counts.add(individual, result, _since(arrived.get(individual.id), counts.started))
                if counts.best is not None:
                    bests.append(counts.best)
            now = time.time()
            last = starts[-1] if starts else {}
            return cls(
                path, now, _driver(path), counts, bests, settings.get("hours"), max(arrived.values(), default=None),
                sum(at > now - _HOUR_S for at in arrived.values()), len(run.comparisons) + len(run.contenders),
                str(last.get("dashboard") or ""), str(last.get("host") or ""),
                [{"time": note["time"], "message": str(note["message"])} for note in run.notes],
            )  # fmt: skip

    @property
    def is_done(self) -> bool:
        """Whether its budget of evaluations is spent."""
        return self.counts.asked is not None and self.counts.done >= self.counts.asked

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: numbers with their unit in the name, None for what is not known."""
        counts = self.counts
        left = counts.seconds_left(self.at) if self.driver else None
        return {
            "run": str(self.path),
            "driver": self.driver,
            "is_done": self.is_done,
            "evaluations": counts.done,
            "asked": counts.asked,
            "hours": self.hours,
            "best": None if counts.best is None else {"fitness": counts.best, "network": counts.best_id},
            "stopped_early": counts.stopped,
            "failures": dict(counts.failed),
            "per_hour": counts.per_hour(self.at) if self.driver else None,
            "in_the_last_hour": self.in_the_last_hour,
            "seconds_left": left,
            "last_result_at": self.last_at,
            "trainings_compared": self.trained_again,
            "dashboard": self.dashboard or None,
            "host": self.host or None,
            "notes": self.notes[-20:],
        }

    def tunnel(self) -> str:
        """Return the command that brings the live page to another machine; empty if there is no page to be reached."""
        parts = urlsplit(self.dashboard)
        if self.driver is None or parts.port is None or not self.host:
            return ""
        return f"ssh -N -L {parts.port}:{parts.hostname}:{parts.port} {self.host}"


def sparkline(values: list[float], width: int = 24) -> str:
    """Return how values went as a line of bars of eight heights, at most `width` of them.

    >>> sparkline([0.0, 0.5, 0.5, 1.0])
    '▁▄▄█'
    """
    if not values:
        return ""
    step = max(1.0, len(values) / width)
    shown = [values[min(len(values) - 1, round((n + 1) * step) - 1)] for n in range(min(width, len(values)))]
    low, high = min(shown), max(shown)
    return "".join(_BARS[int(7 * (value - low) / (high - low)) if high > low else 0] for value in shown)


def _driver(path: Path) -> str | None:
    each = [path, *folders_of(path).values()]
    return next((held for folder in each if (held := holder(folder)) is not None), None)


def _deadline(run: Run, began: float, hours: float | None) -> float | None:
    """Return when the hours of a search are over that began, the last time, at a moment; None if it has no hours."""
    if hours is None or not began:
        return None
    return began + max(0.0, hours * _HOUR_S - sum(end - start for start, end in run.searched if start < began))


def _since(at: float | None, started: float) -> float | None:
    """Return when a result came if that was after the last start, from which the rate is counted."""
    return at if at is not None and at >= started else None
